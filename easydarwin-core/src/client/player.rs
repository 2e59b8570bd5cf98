mod pause;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::media::{AccessUnit, MediaKind, SessionDescription, sdp};
use crate::rtp::RtpPacket;
use crate::rtsp::{ClientEvent, Method, TrackStart};

use super::connection::{Connection, Fill, Input};
use super::handshake::{FirstRequest, Path, open, set_up, unexpected};
use super::played::PlayedTrack;
use super::udp::{MAX_DATAGRAM, UdpPair};
use super::{ClientError, ClientOptions};

/// Distance of receiver reports (RFC 3550, 6.2).
const REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// Datagrams taken from one socket before the others get their turn.
const MAX_DATAGRAMS: usize = 64;

/// Pulls a stream: DESCRIBE, SETUP, PLAY, then media with receiver reports, perhaps PAUSE and PLAY
/// again, TEARDOWN at the end.
#[derive(Debug)]
pub struct Player {
    description: SessionDescription,
    connection: Connection,
    tracks: Vec<PlayedTrack>,
    ready: VecDeque<PlayedPacket>,
    report_due: Instant,
    last_media: Instant,
    silence_timeout: Duration,
    /// The server was asked to be silent, and is.
    paused: bool,
    ended: bool,
    flushed: bool,
    scratch: Vec<u8>,
}

/// One RTP packet, in order.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PlayedPacket {
    /// Index of the track.
    pub track: usize,
    /// The packet from its RTP header on.
    pub data: Bytes,
    /// When it came.
    pub arrival: Instant,
    /// Packets that are missing before it.
    pub lost_before: u32,
    /// It is the track's first after [`Player::play`].
    pub after_pause: bool,
}

struct Describe;

impl FirstRequest for Describe {
    fn make(&self, connection: &mut Connection) {
        connection.session.describe();
    }

    fn method(&self) -> Method {
        Method::Describe
    }
}

impl Player {
    /// Connects and plays all tracks of the stream.
    ///
    /// # Errors
    /// [`ClientError`] names the step that failed; [`ClientError::status`] the server's status.
    pub async fn connect(url: &str, options: ClientOptions) -> Result<Self, ClientError> {
        let (mut connection, event) = open(url, &options, &Describe).await?;
        let ClientEvent::Described { sdp } = event else {
            return Err(unexpected(Method::Describe, &event));
        };
        let description = match options.strict {
            true => sdp::parse_strict(&sdp)?,
            false => sdp::parse(&sdp)?,
        };
        let mut transport = options.transport;
        let mut tracks = Vec::with_capacity(description.tracks.len());
        for (index, track) in description.tracks.iter().enumerate() {
            let name = track.control.as_deref();
            let path = match set_up(&mut connection, index, name, &mut transport, false).await {
                Ok(path) => Some(path),
                // Metadata that cannot be had must not cost us the picture.
                Err(ClientError::Refused { .. }) if track.kind == MediaKind::Application => None,
                Err(error) => return Err(error),
            };
            tracks.push(PlayedTrack::new(index, track, path));
        }
        connection.session.play();
        let starts = match connection.answer(Method::Play).await? {
            ClientEvent::Playing { starts } => starts,
            other => return Err(unexpected(Method::Play, &other)),
        };
        let now = Instant::now();
        let mut player = Self {
            description,
            connection,
            tracks,
            ready: VecDeque::new(),
            report_due: now,
            last_media: now,
            silence_timeout: options.silence_timeout,
            paused: false,
            ended: false,
            flushed: false,
            scratch: vec![0; MAX_DATAGRAM],
        };
        player.take_starts(&starts);
        player
            .tracks
            .iter()
            .filter_map(PlayedTrack::udp)
            .for_each(UdpPair::punch);
        player.report(now);
        for input in player.connection.take_early() {
            player.take(input, now);
        }
        Ok(player)
    }

    /// What the server described.
    pub fn description(&self) -> &SessionDescription {
        &self.description
    }

    /// The next access unit of any understood track; `None` at the end of the stream.
    ///
    /// `pts` counts from the point that the server's `RTP-Info` names, else from the track's first
    /// packet.
    ///
    /// # Errors
    /// How the session ended, if not by the server's own end of the stream.
    pub async fn next_unit(&mut self) -> Result<Option<AccessUnit>, ClientError> {
        loop {
            if let Some(unit) = self.tracks.iter_mut().find_map(PlayedTrack::pop_unit) {
                return Ok(Some(unit));
            }
            if self.flushed {
                return Ok(None);
            }
            match self.next_packet().await? {
                Some(packet) => {
                    if let Some(track) = self.tracks.get_mut(packet.track) {
                        track.depacketize(&packet);
                    }
                }
                None => {
                    self.flushed = true;
                    self.tracks.iter_mut().for_each(PlayedTrack::flush);
                }
            }
        }
    }

    /// The next RTP packet of any track; `None` at the end of the stream. Use either this or
    /// [`next_unit`](Self::next_unit).
    ///
    /// # Errors
    /// As [`next_unit`](Self::next_unit).
    pub async fn next_packet(&mut self) -> Result<Option<PlayedPacket>, ClientError> {
        loop {
            if let Some(packet) = self.ready.pop_front() {
                return Ok(Some(packet));
            }
            if self.ended {
                return Ok(None);
            }
            let now = Instant::now();
            let more = match self.receive(now) {
                Err(ClientError::Closed) => {
                    self.end();
                    continue;
                }
                more => more?,
            };
            self.release(now);
            if now >= self.report_due {
                self.report(now);
            }
            // What was sent is read to its end, also when nothing can be written any more.
            match self.connection.write_some() {
                Ok(_) | Err(ClientError::Closed) => {}
                Err(error) => return Err(error),
            }
            if more || self.ended || !self.ready.is_empty() {
                continue;
            }
            if !self.paused
                && now.saturating_duration_since(self.last_media) >= self.silence_timeout
            {
                return Err(ClientError::Silent {
                    after: self.silence_timeout,
                });
            }
            self.wait().await;
        }
    }

    /// Sends TEARDOWN and closes.
    ///
    /// # Errors
    /// When TEARDOWN could not be sent.
    pub async fn close(self) -> Result<(), ClientError> {
        self.connection.close().await
    }

    async fn wait(&self) {
        let mut due = self.report_due;
        if !self.paused {
            due = due.min(self.last_media + self.silence_timeout);
        }
        for track in &self.tracks {
            due = track.deadline().map_or(due, |deadline| due.min(deadline));
        }
        let sockets: Vec<_> = self
            .tracks
            .iter()
            .filter_map(PlayedTrack::udp)
            .flat_map(|pair| [&pair.rtp, &pair.rtcp])
            .collect();
        self.connection.wait(&sockets, due).await;
    }

    /// Takes what the sockets have, without waiting. Returns whether there may be more.
    fn receive(&mut self, now: Instant) -> Result<bool, ClientError> {
        let mut datagrams = Vec::new();
        let mut more = false;
        for (index, track) in self.tracks.iter().enumerate() {
            let Some(pair) = track.udp() else { continue };
            for rtcp in [false, true] {
                let mut taken = 0;
                while taken < MAX_DATAGRAMS
                    && let Some(data) = pair.receive(rtcp, &mut self.scratch)
                {
                    datagrams.push((index, rtcp, data));
                    taken += 1;
                }
                more |= taken > 0;
            }
        }
        for (index, rtcp, data) in datagrams {
            self.packet(index, rtcp, data, now);
        }
        match self.connection.fill()? {
            Fill::Nothing => return Ok(more),
            Fill::Some => {}
            Fill::End => {
                self.end();
                return Ok(false);
            }
        }
        while let Some(input) = self.connection.next_input(now)? {
            self.take(input, now);
        }
        Ok(true)
    }

    fn take(&mut self, input: Input, now: Instant) {
        match input {
            Input::Packet { channel, data } => {
                let found = self.tracks.iter().enumerate().find_map(|(index, track)| {
                    match track.path.as_ref()? {
                        Path::Tcp { rtp, .. } if *rtp == channel => Some((index, false)),
                        Path::Tcp { rtcp, .. } if *rtcp == channel => Some((index, true)),
                        _ => None,
                    }
                });
                if let Some((index, rtcp)) = found {
                    self.packet(index, rtcp, data, now);
                }
            }
            Input::Event(ClientEvent::Ended) => self.end(),
            Input::Event(ClientEvent::Paused) => self.paused(),
            Input::Event(ClientEvent::Playing { starts }) => self.resumed(&starts, now),
            Input::Event(_) => {}
        }
    }

    fn packet(&mut self, index: usize, rtcp: bool, data: Bytes, now: Instant) {
        let Some(track) = self.tracks.get_mut(index) else {
            return;
        };
        if rtcp {
            track.rtcp(&data, now);
            if self.tracks.iter().all(PlayedTrack::is_over) {
                self.end();
            }
            return;
        }
        // What is no RTP is dropped here, whoever sends it.
        let Ok(packet) = RtpPacket::parse(&data) else {
            return;
        };
        self.last_media = now;
        let (sequence, lost) = (packet.sequence(), track.count(&packet, now));
        if track.hold(sequence, &data, now) {
            return;
        }
        self.ready.push_back(PlayedPacket {
            track: index,
            data,
            arrival: now,
            lost_before: lost,
            after_pause: track.take_resumed(),
        });
    }

    /// What waited for its turn and may go now.
    fn release(&mut self, now: Instant) {
        for (index, track) in self.tracks.iter_mut().enumerate() {
            while let Some(released) = track.release(now) {
                self.ready.push_back(PlayedPacket {
                    track: index,
                    data: released.packet,
                    arrival: released.arrival,
                    lost_before: released.lost_before,
                    after_pause: track.take_resumed(),
                });
            }
        }
    }

    /// Nothing more comes: nothing is waited for.
    fn end(&mut self) {
        self.ended = true;
        self.release_all();
    }

    /// What waits for packets that are missing goes without them.
    fn release_all(&mut self) {
        self.release(Instant::now() + self.silence_timeout);
    }

    fn report(&mut self, now: Instant) {
        self.report_due = now + REPORT_INTERVAL;
        for track in &mut self.tracks {
            track.report(&mut self.connection, now);
        }
    }

    /// Which entry belongs to which track: by URL, else by order.
    fn take_starts(&mut self, starts: &[TrackStart]) {
        for (index, start) in starts.iter().enumerate() {
            let named = self.description.tracks.iter().position(|track| {
                let url = self.connection.session.track_url(track.control.as_deref());
                !start.url.is_empty() && (url == start.url || url.ends_with(&start.url))
            });
            if let Some(track) = self.tracks.get_mut(named.unwrap_or(index)) {
                track.set_start(start.rtp_time);
            }
        }
    }
}
