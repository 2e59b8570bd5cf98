//! A channel's datagrams.

use std::io;
use std::net::IpAddr;
use std::task::{Context, Poll};
use std::time::Instant;

use easydarwin_core::client::{ClientError, Link, UdpPair};

use crate::push::Channel;

/// RTCP of a media server; more is cut off.
const RECEIVE: usize = 2048;

/// The sockets of each track.
#[derive(Debug)]
pub(super) struct Datagrams {
    pairs: Vec<UdpPair>,
    /// The server's ports are known.
    aimed: bool,
    scratch: Box<[u8; RECEIVE]>,
    blocked: bool,
    sent: u64,
}

impl Datagrams {
    pub(super) fn bind(
        link: &Link,
        tracks: usize,
        interface: Option<&str>,
    ) -> Result<Self, ClientError> {
        let (local, peer): (IpAddr, IpAddr) = (link.local.ip(), link.peer.ip());
        let pairs = (0..tracks).map(|_| UdpPair::bind_on(local, peer, interface));
        Ok(Self {
            pairs: pairs.collect::<Result<_, _>>()?,
            aimed: false,
            scratch: Box::new([0; RECEIVE]),
            blocked: false,
            sent: 0,
        })
    }

    pub(super) fn ports(&self) -> Vec<(u16, u16)> {
        self.pairs.iter().map(|pair| pair.ports).collect()
    }

    /// Bytes that the sockets took.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// Sends what may go now.
    pub(super) fn send(&mut self, channel: &mut Channel, now: Instant) -> io::Result<()> {
        if !self.aimed {
            for (track, pair) in self.pairs.iter_mut().enumerate() {
                if let Some((source, ports)) = channel.remote(track) {
                    self.aimed = true;
                    pair.set_peer(source, Some(ports));
                    pair.connect()?;
                }
            }
        }
        self.blocked = false;
        while let Some(datagram) = channel.datagram(now) {
            if let Some(pair) = self.pairs.get(datagram.track)
                && !pair.try_send(datagram.rtcp, datagram.data)?
            {
                self.blocked = true;
                break;
            }
            self.sent += u64::try_from(datagram.data.len()).unwrap_or(0);
            channel.datagram_sent(now);
        }
        Ok(())
    }

    /// Takes what came; ready if something did, or may be sent that could not.
    pub(super) fn poll(
        &mut self,
        channel: &mut Channel,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let mut ready = Poll::Pending;
        for pair in &self.pairs {
            if pair.poll_ready(self.blocked, cx).is_pending() {
                continue;
            }
            ready = if self.blocked { Poll::Ready(()) } else { ready };
            for rtcp in [false, true] {
                while let Some(len) = pair.receive_into(rtcp, &mut self.scratch[..]) {
                    ready = Poll::Ready(());
                    if rtcp && let Some(data) = self.scratch.get(..len) {
                        channel.received_datagram(data, now);
                    }
                }
            }
        }
        ready
    }
}
