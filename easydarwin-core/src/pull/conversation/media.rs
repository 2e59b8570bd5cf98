//! What comes over channels and sockets.

use std::time::Instant;

use bytes::Bytes;

use super::{Conversation, Happened, Phase};
use crate::pull::track::Lane;
use crate::pull::{Failure, Quirk};
use crate::rtp::{Released, RtpPacket, is_rtcp};

impl Conversation {
    /// Whose frame it is, if it is to be passed on.
    pub(super) fn on_frame(
        &mut self,
        channel: u8,
        data: &[u8],
        now: Instant,
    ) -> Option<(usize, bool)> {
        if !matches!(self.phase, Phase::Starting | Phase::Playing) {
            // Before PLAY it can only be of another session, after TEARDOWN nobody wants it.
            if !matches!(self.phase, Phase::Leaving | Phase::Over) {
                self.quirk(Quirk::UnknownChannel);
            }
            return None;
        }
        let known = self.tracks.iter().enumerate().find_map(|(index, track)| {
            let Lane::Tcp { rtp, rtcp } = track.lane else {
                return None;
            };
            match channel {
                _ if channel == rtp => Some((index, false)),
                _ if channel == rtcp => Some((index, true)),
                _ => None,
            }
        });
        let (track, rtcp) = match known {
            Some(known) => known,
            None => (self.adopt(channel, data)?, false),
        };
        self.take(track, rtcp, data, now).map(|rtcp| (track, rtcp))
    }

    /// Takes a datagram; RTP comes out of [`pop_packet`](Self::pop_packet) in order. Returns
    /// whether it is RTCP to be passed on.
    pub(in crate::pull) fn datagram(
        &mut self,
        socket: usize,
        rtcp: bool,
        data: Bytes,
        now: Instant,
    ) -> Option<usize> {
        if !matches!(self.phase, Phase::Starting | Phase::Playing) {
            return None;
        }
        let track = self.published.iter().position(|index| *index == socket)?;
        if self.take(track, rtcp, &data, now)? {
            return Some(track);
        }
        if let (Ok(packet), Some(received)) = (RtpPacket::parse(&data), self.tracks.get_mut(track))
        {
            let sequence = packet.sequence();
            received.hold(sequence, data, now);
        }
        None
    }

    /// The next packet that came by datagram and is in its turn.
    pub(in crate::pull) fn pop_packet(&mut self, now: Instant) -> Option<(usize, Released)> {
        self.tracks
            .iter_mut()
            .enumerate()
            .find_map(|(index, track)| Some((index, track.release(now)?)))
    }

    /// The description's index of a published track: the number of its sockets.
    pub(in crate::pull) fn socket_of(&self, track: usize) -> usize {
        self.published.get(track).copied().unwrap_or(track)
    }

    /// Counts a packet. `Some(true)`: RTCP, `Some(false)`: RTP.
    fn take(&mut self, index: usize, rtcp: bool, data: &[u8], now: Instant) -> Option<bool> {
        let track = self.tracks.get_mut(index)?;
        if rtcp || is_rtcp(data) {
            if !rtcp {
                self.happened
                    .push_back(Happened::Quirk(Quirk::RtcpOnRtpChannel));
            }
            track.on_rtcp(data, now);
            if self.tracks.iter().all(|track| track.over) {
                self.over(Failure::Ended);
            }
            return Some(true);
        }
        let Ok(packet) = RtpPacket::parse(data) else {
            self.quirk(Quirk::NotRtp);
            return None;
        };
        track.on_rtp(&packet, now);
        let first = self.last_media.replace(now).is_none();
        if first {
            if self.phase == Phase::Starting {
                self.quirk(Quirk::EarlyMedia);
                self.announce();
            } else {
                self.happened.push_back(Happened::Playing);
            }
        }
        Some(false)
    }

    /// The track to which a channel belongs that nobody agreed on: the only one with this payload
    /// type, if nothing came on its own channel.
    fn adopt(&mut self, channel: u8, data: &[u8]) -> Option<usize> {
        let found = RtpPacket::parse(data).ok().and_then(|packet| {
            let mut alike = self
                .tracks
                .iter()
                .enumerate()
                .filter(|(_, track)| track.payload_type == packet.payload_type());
            let (index, track) = alike.next()?;
            let adoptable = matches!(track.lane, Lane::Tcp { .. }) && !track.heard;
            (adoptable && alike.next().is_none() && !is_rtcp(data)).then_some(index)
        });
        let Some(index) = found else {
            self.quirk(Quirk::UnknownChannel);
            return None;
        };
        self.quirk(Quirk::ChannelAdopted);
        if let Some(track) = self.tracks.get_mut(index) {
            track.lane = Lane::Tcp {
                rtp: channel,
                rtcp: channel.saturating_add(1),
            };
        }
        Some(index)
    }
}
