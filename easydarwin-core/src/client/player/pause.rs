//! PAUSE, and PLAY after it.

use std::time::Instant;

use super::{Input, PlayedTrack, Player};
use crate::client::ClientError;
use crate::rtsp::{ClientEvent, Method, TrackStart};

impl Player {
    /// Asks the server to send nothing until [`play`](Self::play) (PAUSE, RFC 2326, 10.6). The
    /// session stays: go on awaiting [`next_unit`](Self::next_unit) or
    /// [`next_packet`](Self::next_packet), which bring what was on its way, keep the session alive,
    /// and then wait, for as long as the pause lasts. Does nothing while paused.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use easydarwin_core::client::{ClientError, Player};
    /// # async fn show(player: &mut Player) -> Result<(), ClientError> {
    /// player.pause().await?;
    /// let pause = tokio::time::sleep(Duration::from_secs(600));
    /// tokio::pin!(pause);
    /// loop {
    ///     tokio::select! {
    ///         // The last pictures before the pause, then none.
    ///         unit = player.next_unit() => if unit?.is_none() { return Ok(()) },
    ///         () = &mut pause => break,
    ///     }
    /// }
    /// player.play().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ClientError::Refused`] when the server cannot pause this stream: it plays on.
    pub async fn pause(&mut self) -> Result<(), ClientError> {
        if self.paused {
            return Ok(());
        }
        self.connection.session.pause();
        self.ask(Method::Pause).await
    }

    /// Goes on after [`pause`](Self::pause), where the server likes to: files at the place of the
    /// pause, live streams usually at a key frame. What was not sent meanwhile does not count as
    /// lost; the first access unit of each track says that it follows a gap
    /// ([`discontinuity`](crate::media::AccessUnit::discontinuity)), and `pts` goes on as the
    /// server's RTP clock does. Does nothing while playing.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when the server does not go on: it is still paused.
    pub async fn play(&mut self) -> Result<(), ClientError> {
        if !self.paused {
            return Ok(());
        }
        // What waits for packets that can no longer come goes first.
        self.release_all();
        self.tracks.iter_mut().for_each(PlayedTrack::resume);
        self.connection.session.resume();
        self.ask(Method::Play).await
    }

    /// Waits for the answer to the request that was just made. Answers to others, whose futures
    /// were dropped, may stand before it.
    async fn ask(&mut self, method: Method) -> Result<(), ClientError> {
        loop {
            let answer = self.connection.answer(method.clone()).await;
            let now = Instant::now();
            for input in self.connection.take_early() {
                self.take(input, now);
            }
            match answer {
                Ok(event) => {
                    let answered = matches!(
                        (&method, &event),
                        (Method::Pause, ClientEvent::Paused)
                            | (Method::Play, ClientEvent::Playing { .. })
                    );
                    self.take(Input::Event(event), now);
                    if answered {
                        return Ok(());
                    }
                }
                Err(
                    ClientError::Refused { method: other, .. }
                    | ClientError::Login { method: other, .. },
                ) if other != method => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The server pauses.
    pub(super) fn paused(&mut self) {
        self.paused = true;
    }

    /// The server goes on. Its times are those of before the pause: what `pts` counts from stays,
    /// where there is one.
    pub(super) fn resumed(&mut self, starts: &[TrackStart], now: Instant) {
        self.paused = false;
        self.last_media = now;
        self.take_starts(starts);
    }
}
