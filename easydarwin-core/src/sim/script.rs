use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{End, Event, Network, Node};

/// What a scripted peer does next.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Act {
    /// Waits until what came since the last [`Send`](Self::Send) holds this text.
    Expect(String),
    /// Sends bytes.
    Send(Bytes),
    /// Lets time pass.
    Wait(Duration),
    /// Closes in order.
    Close,
    /// Breaks the connection.
    Reset,
    /// Makes the connection half-open.
    Silence,
}

impl Act {
    /// Waits for this text.
    pub fn expect(text: impl Into<String>) -> Self {
        Self::Expect(text.into())
    }

    /// Sends this text.
    pub fn send(text: impl Into<String>) -> Self {
        Self::Send(Bytes::from(text.into()))
    }
}

/// A peer that does as it is told, the same on every connection that it accepts.
#[derive(Debug)]
pub struct Script {
    addr: SocketAddr,
    acts: Vec<Act>,
    talks: Vec<Talk>,
}

#[derive(Debug)]
struct Talk {
    end: End,
    left: VecDeque<Act>,
    heard: Vec<u8>,
    until: Option<Instant>,
}

impl Script {
    /// Accepts connections at `addr` and goes through `acts` on each.
    pub fn listen(net: &mut Network, addr: SocketAddr, acts: Vec<Act>) -> Self {
        net.listen(addr);
        Self {
            addr,
            acts,
            talks: Vec::new(),
        }
    }

    /// Whether every connection so far came to the end of the script.
    pub fn is_finished(&self) -> bool {
        self.talks.iter().all(|talk| talk.left.is_empty())
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.talks.len()
    }
}

impl Talk {
    fn go_on(&mut self, net: &mut Network) {
        while let Some(act) = self.left.front() {
            match act {
                Act::Expect(text) => {
                    let text = text.as_bytes();
                    if !self.heard.windows(text.len().max(1)).any(|w| w == text) {
                        return;
                    }
                }
                Act::Send(bytes) => {
                    self.heard.clear();
                    net.send(self.end, bytes.clone());
                }
                Act::Wait(time) => {
                    let until = *self.until.get_or_insert(net.now() + *time);
                    if net.now() < until {
                        return;
                    }
                    self.until = None;
                }
                Act::Close => net.close(self.end),
                Act::Reset => net.reset(self.end),
                Act::Silence => net.silence(self.end),
            }
            self.left.pop_front();
        }
    }
}

impl Node for Script {
    fn host(&self) -> IpAddr {
        self.addr.ip()
    }

    fn handle(&mut self, event: Event, net: &mut Network) {
        match event {
            Event::Accepted { end, .. } => {
                let mut talk = Talk {
                    end,
                    left: self.acts.iter().cloned().collect(),
                    heard: Vec::new(),
                    until: None,
                };
                talk.go_on(net);
                self.talks.push(talk);
            }
            Event::Received { end, data } => {
                if let Some(talk) = self.talks.iter_mut().find(|talk| talk.end == end) {
                    talk.heard.extend_from_slice(&data);
                    talk.go_on(net);
                }
            }
            _ => {}
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.talks.iter().filter_map(|talk| talk.until).min()
    }

    fn handle_timeout(&mut self, net: &mut Network) {
        for talk in &mut self.talks {
            talk.go_on(net);
        }
    }
}
