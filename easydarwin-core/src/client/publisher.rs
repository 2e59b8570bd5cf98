use std::time::{Duration, Instant, SystemTime};

use bytes::{Bytes, BytesMut};

use crate::media::{AccessUnit, SessionDescription, sdp};
use crate::rtp::rtcp::{SenderReport, write_sender_report};
use crate::rtp::{PacketRun, Packetizer, PacketizerConfig, RtpPacket};
use crate::rtsp::{ClientEvent, Method};

use super::connection::{Connection, Fill, Input};
use super::handshake::{FirstRequest, Path, open, set_up, unexpected};
use super::random::{random, random_u16, random_u32};
use super::udp::MAX_DATAGRAM;
use super::{ClientError, ClientOptions};

/// Distance of sender reports (RFC 3550, 6.2).
const REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// Datagrams sent at once: a burst of a whole key frame overflows usual receive buffers.
const BURST: usize = 32;
/// Pause after a burst.
const BURST_PAUSE: Duration = Duration::from_millis(1);
/// Reads per call, so that a talkative server cannot keep the sender from sending.
const MAX_READS: usize = 4;

/// Pushes a stream: ANNOUNCE, SETUP, RECORD, then media with sender reports, TEARDOWN at the end.
#[derive(Debug)]
pub struct Publisher {
    description: SessionDescription,
    connection: Connection,
    tracks: Vec<PublishedTrack>,
    run: PacketRun,
    scratch: Vec<u8>,
}

#[derive(Debug)]
struct PublishedTrack {
    path: Path,
    packetizer: Packetizer,
    clock_rate: u32,
    /// RTP time of `pts` 0.
    base: u32,
    ssrc: u32,
    packets: u32,
    octets: u32,
    /// The RTP time of the last packet and the wall clock that belongs to it.
    last: Option<(u32, SystemTime)>,
    report_due: Option<Instant>,
}

struct Announce(Bytes);

impl FirstRequest for Announce {
    fn make(&self, connection: &mut Connection) {
        connection.session.announce(self.0.clone());
    }

    fn method(&self) -> Method {
        Method::Announce
    }
}

fn control(track: usize) -> String {
    format!("trackID={track}")
}

impl Publisher {
    /// Connects and records; returns when the server takes media.
    ///
    /// # Errors
    /// [`ClientError`] names the step that failed; [`ClientError::status`] the server's status.
    pub async fn connect(
        url: &str,
        description: SessionDescription,
        options: ClientOptions,
    ) -> Result<Self, ClientError> {
        let write = sdp::WriteOptions {
            session_id: random() >> 1,
            session_control: Some("*".to_owned()),
            live_range: false,
            ..sdp::WriteOptions::default()
        };
        let announce = Announce(sdp::write(&description, &write, control).into());
        let (mut connection, event) = open(url, &options, &announce).await?;
        if event != ClientEvent::Announced {
            return Err(unexpected(Method::Announce, &event));
        }
        let mut transport = options.transport;
        let mut tracks = Vec::with_capacity(description.tracks.len());
        for (index, track) in description.tracks.iter().enumerate() {
            let name = control(index);
            let path = set_up(&mut connection, index, Some(&name), &mut transport, true).await?;
            let config = PacketizerConfig {
                ssrc: random_u32(),
                payload_type: track.payload_type,
                first_sequence: random_u16(),
                channel: path.channel(index),
                ..PacketizerConfig::default()
            };
            tracks.push(PublishedTrack {
                path,
                packetizer: Packetizer::new(track, config),
                clock_rate: track.clock_rate,
                base: random_u32(),
                ssrc: config.ssrc,
                packets: 0,
                octets: 0,
                last: None,
                report_due: None,
            });
        }
        connection.session.record();
        match connection.answer(Method::Record).await? {
            ClientEvent::Recording => {}
            other => return Err(unexpected(Method::Record, &other)),
        }
        Ok(Self {
            description,
            connection,
            tracks,
            run: PacketRun::new(),
            scratch: vec![0; MAX_DATAGRAM],
        })
    }

    /// Leaves the media to somebody else, who writes it to the connection itself; `None` when it
    /// does not travel there.
    #[cfg(feature = "server")]
    pub(crate) fn hand_over(self) -> Option<super::Handover> {
        let channels = self.tracks.iter().map(|track| match &track.path {
            Path::Tcp { rtp, rtcp } => Some((*rtp, *rtcp)),
            Path::Udp(_) => None,
        });
        let channels = channels.collect::<Option<Vec<_>>>()?;
        super::Handover::new(self.connection, channels)
    }

    /// What is published.
    pub fn description(&self) -> &SessionDescription {
        &self.description
    }

    /// Packetizes and sends one access unit. Waits while the server takes no data; a sender that
    /// must not wait keeps a bounded queue in front and drops there.
    ///
    /// When the future is dropped, a unit that was begun is sent to its end over TCP by whatever
    /// is called next; over UDP its rest is lost.
    ///
    /// # Errors
    /// Any: the session is over, except [`ClientError::Packetize`] and
    /// [`ClientError::NoSuchTrack`], after which the next unit can be sent.
    pub async fn send(&mut self, unit: &AccessUnit) -> Result<(), ClientError> {
        self.ready().await?;
        let track = self
            .tracks
            .get_mut(unit.track)
            .ok_or(ClientError::NoSuchTrack(unit.track))?;
        let mut run = std::mem::take(&mut self.run);
        run.clear();
        let rtp_time = track.base.wrapping_add(low_bits(unit.pts));
        let made = track.packetizer.packetize(unit, rtp_time, &mut run);
        if made.is_ok() {
            let wall = unit.ntp.unwrap_or_else(|| {
                let now = SystemTime::now();
                now.checked_sub(unit.arrival.elapsed()).unwrap_or(now)
            });
            track.last = Some((rtp_time, wall));
        }
        let sent = match made {
            Ok(()) => self.send_packets(unit.track, &run).await,
            Err(error) => Err(error.into()),
        };
        self.run = run;
        sent
    }

    /// Sends packets made elsewhere: of one track, on the channel that
    /// [`channel`](Self::channel) tells. Do not mix with [`send`](Self::send) on that track.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_run(&mut self, track: usize, run: &PacketRun) -> Result<(), ClientError> {
        self.ready().await?;
        let entry = self
            .tracks
            .get_mut(track)
            .ok_or(ClientError::NoSuchTrack(track))?;
        let last = run.packets().last().map(RtpPacket::parse);
        if let Some(Ok(packet)) = last {
            entry.ssrc = packet.ssrc();
            entry.last = Some((packet.timestamp(), SystemTime::now()));
        }
        self.send_packets(track, run).await
    }

    /// The interleaved channel of a track's RTP (also a number of its own over UDP).
    pub fn channel(&self, track: usize) -> Option<u8> {
        self.tracks
            .get(track)
            .map(|entry| entry.path.channel(track))
    }

    /// Answers, keep-alives and sender reports while there is nothing to send. Never returns `Ok`.
    ///
    /// # Errors
    /// How the session ended.
    pub async fn drive(&mut self) -> Result<(), ClientError> {
        loop {
            self.service()?;
            self.connection.write_some()?;
            self.wait().await;
        }
    }

    /// Sends TEARDOWN and waits for its answer (at most one second, and less than the request
    /// timeout), then closes.
    ///
    /// # Errors
    /// When TEARDOWN could not be sent.
    pub async fn close(self) -> Result<(), ClientError> {
        self.connection.close().await
    }

    /// Until everything queued is written.
    async fn ready(&mut self) -> Result<(), ClientError> {
        self.service()?;
        while !self.connection.write_some()? {
            self.wait().await;
            self.service()?;
        }
        Ok(())
    }

    async fn wait(&self) {
        let reports = self.tracks.iter().filter_map(|track| track.report_due);
        let due = reports
            .min()
            .unwrap_or_else(|| Instant::now() + REPORT_INTERVAL);
        let sockets: Vec<_> = self
            .tracks
            .iter()
            .filter_map(|track| match &track.path {
                Path::Udp(pair) => Some([&pair.rtp, &pair.rtcp]),
                Path::Tcp { .. } => None,
            })
            .flatten()
            .collect();
        self.connection.wait(&sockets, due).await;
    }

    /// Reads what the server says and sends the reports that are due; never waits.
    fn service(&mut self) -> Result<(), ClientError> {
        let now = Instant::now();
        for _ in 0..MAX_READS {
            match self.connection.fill()? {
                Fill::Some => {}
                Fill::Nothing => break,
                Fill::End => return Err(ClientError::Closed),
            }
            while let Some(input) = self.connection.next_input(now)? {
                if let Input::Event(ClientEvent::Ended) = input {
                    return Err(ClientError::Closed);
                }
            }
        }
        for track in &mut self.tracks {
            if let Path::Udp(pair) = &track.path {
                // Receiver reports change nothing here, but must not fill the socket.
                while pair.receive(true, &mut self.scratch).is_some() {}
                while pair.receive(false, &mut self.scratch).is_some() {}
            }
            if track.report_due.is_some_and(|due| due <= now) {
                track.report(&mut self.connection, now);
            }
        }
        Ok(())
    }

    async fn send_packets(&mut self, index: usize, run: &PacketRun) -> Result<(), ClientError> {
        let Some(track) = self.tracks.get_mut(index) else {
            return Err(ClientError::NoSuchTrack(index));
        };
        for packet in run.packets() {
            track.packets = track.packets.wrapping_add(1);
            let payload = RtpPacket::parse(packet).map_or(0, |p| p.payload().len());
            let payload = u32::try_from(payload).unwrap_or(u32::MAX);
            track.octets = track.octets.wrapping_add(payload);
        }
        match &track.path {
            Path::Tcp { .. } => self.connection.write_now(run.interleaved())?,
            Path::Udp(pair) => {
                for (sent, packet) in run.packets().enumerate() {
                    if sent > 0 && sent % BURST == 0 {
                        tokio::time::sleep(BURST_PAUSE).await;
                    }
                    pair.send_rtp(packet).await?;
                }
            }
        }
        if track.report_due.is_none() {
            // The first one at once: it tells the server how the tracks belong together.
            track.report(&mut self.connection, Instant::now());
        }
        self.ready().await
    }
}

impl PublishedTrack {
    fn report(&mut self, connection: &mut Connection, now: Instant) {
        let Some((rtp_time, wall)) = self.last else {
            return;
        };
        self.report_due = Some(now + REPORT_INTERVAL);
        // The clock runs on since the last packet.
        let since = SystemTime::now()
            .duration_since(wall)
            .unwrap_or_default()
            .min(2 * REPORT_INTERVAL);
        let ticks = since.as_nanos() * u128::from(self.clock_rate) / 1_000_000_000;
        let report = SenderReport {
            ssrc: self.ssrc,
            ntp: (wall + since).into(),
            rtp_time: rtp_time.wrapping_add(u32::try_from(ticks).unwrap_or(0)),
            packets: self.packets,
            octets: self.octets,
        };
        let mut packet = BytesMut::with_capacity(128);
        write_sender_report(&report, &[], "easydarwin", &mut packet);
        self.path.send_rtcp(connection, &packet);
    }
}

/// RTP time is 32 bits of the media clock; negative times wrap as they should.
fn low_bits(pts: i64) -> u32 {
    let [.., a, b, c, d] = pts.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}
