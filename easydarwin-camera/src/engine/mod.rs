//! The whole camera without sockets and clocks: the conversation with the CMS, and the push of each
//! channel.
//!
//! The shell gives bytes, frames and time in, and takes bytes, datagrams and events out. After
//! every input it calls [`work`](CameraEngine::work), does what [`poll_event`](CameraEngine::poll_event)
//! says, writes what [`control`](CameraEngine::control) and each [`channel`](CameraEngine::channel)
//! have to write, and then waits for sockets, frames, or [`poll_timeout`](CameraEngine::poll_timeout).

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::control::{ClockQuality, ControlEngine, ControlEvent, WallClock};
use crate::push::{Channel, ChannelEvent, Wall, Wanted};

/// What the shell is to do, or the embedder to know.
#[derive(Debug)]
#[non_exhaustive]
pub enum EngineEvent {
    /// Between camera and CMS; what it wants pushed is done inside.
    Control(ControlEvent),
    /// Of a channel.
    Channel {
        /// Channel, from 1.
        number: u32,
        /// Between it and its media server.
        event: ChannelEvent,
    },
}

/// A camera.
#[derive(Debug)]
pub struct CameraEngine {
    control: Option<ControlEngine>,
    channels: Vec<(u32, Channel)>,
    /// Of a camera without CMS.
    clock: WallClock,
    /// Wall clock of a camera that nobody told the time: counted from 1970 on.
    began: Instant,
    leaving: bool,
}

impl CameraEngine {
    /// A camera with these channels; without `control` it belongs to no CMS.
    pub fn new(
        control: Option<ControlEngine>,
        channels: Vec<(u32, Channel)>,
        now: Instant,
    ) -> Self {
        Self {
            control,
            channels,
            clock: WallClock::default(),
            began: now,
            leaving: false,
        }
    }

    /// The conversation with the CMS.
    pub fn control(&mut self) -> Option<&mut ControlEngine> {
        self.control.as_mut()
    }

    /// A channel by its number.
    pub fn channel(&mut self, number: u32) -> Option<&mut Channel> {
        let mut channels = self.channels.iter_mut();
        let found = channels.find(|(other, _)| *other == number);
        found.map(|(_, channel)| channel)
    }

    /// Does what is due.
    pub fn work(&mut self, now: Instant) {
        if let Some(control) = &mut self.control
            && !self.leaving
            && control.poll_timeout().is_some_and(|due| due <= now)
        {
            control.timeout(now);
        }
        let wall = self.wall(now);
        for (_, channel) in &mut self.channels {
            channel.work(wall, now);
        }
    }

    /// When [`work`](Self::work) is to be called, if nothing happens before.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let control = self.control.as_ref().filter(|_| !self.leaving);
        let control = control.and_then(ControlEngine::poll_timeout);
        let channels = self.channels.iter();
        let channels = channels.filter_map(|(_, channel)| channel.poll_timeout(now));
        control.into_iter().chain(channels).min()
    }

    /// The next thing to do or to know. What the CMS asks of a push is done inside.
    pub fn poll_event(&mut self, now: Instant) -> Option<EngineEvent> {
        loop {
            for (number, channel) in &mut self.channels {
                if let Some(event) = channel.poll_event() {
                    let number = *number;
                    return Some(EngineEvent::Channel { number, event });
                }
            }
            match self.control.as_mut()?.poll_event()? {
                ControlEvent::StartPush(target) => {
                    let number = target.channel;
                    self.want(number, Some(Wanted::asked(target)), now);
                }
                ControlEvent::StopPush { channel } => self.want(channel, None, now),
                event => return Some(EngineEvent::Control(event)),
            }
        }
    }

    /// A push is wanted of a channel, or none.
    pub fn want(&mut self, number: u32, wanted: Option<Wanted>, now: Instant) {
        if !self.leaving
            && let Some(channel) = self.channel(number)
        {
            channel.want(wanted, now);
        }
    }

    /// Ends all pushes, and wants no more of them.
    pub fn leave(&mut self, now: Instant) {
        for (_, channel) in &mut self.channels {
            channel.want(None, now);
        }
        self.leaving = true;
    }

    /// Whether a camera that leaves has left.
    pub fn has_left(&self) -> bool {
        self.leaving && self.channels.iter().all(|(_, channel)| channel.is_idle())
    }

    /// What time it is, if that is known from somebody to be believed: by it certificates are judged.
    pub fn trusted_clock(&self, now: Instant) -> Option<SystemTime> {
        match &self.control {
            Some(control) if control.clock_is_trusted() => control.wall_clock(now),
            Some(_) => None,
            // Nobody but the embedder can have set it.
            None => self.clock.at(now),
        }
    }

    /// The embedder knows that it was `wall` at `at`. See
    /// [`ControlEngine::set_clock`](crate::control::ControlEngine::set_clock).
    pub fn set_clock(&mut self, wall: SystemTime, quality: ClockQuality, at: Instant) {
        match &mut self.control {
            Some(control) => control.set_clock(wall, quality, at),
            None => self.clock.set(wall, quality, at),
        }
    }

    /// The wall clock as the embedder or the CMS told it. A camera that knows none counts from 1970
    /// on: what belongs together is seen all the same (RFC 3550, 4).
    fn wall(&self, now: Instant) -> Wall {
        let (told, quality) = match &self.control {
            Some(control) => (control.wall_clock(now), control.clock_quality()),
            None => (self.clock.at(now), self.clock.quality()),
        };
        let time = told.unwrap_or_else(|| {
            let since = now.saturating_duration_since(self.began);
            UNIX_EPOCH + Duration::from_secs(1) + since
        });
        Wall { time, quality }
    }
}

#[cfg(test)]
mod tests;
