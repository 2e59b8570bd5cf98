//! A CMS that lets the camera in and wants its stream all the time.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use easydarwin_core::protocol::{
    Envelope, ErrorNum, MessageReader, MessageType, PushRequest, Register, RegisterAck,
};
use easydarwin_core::sim::{End, Event, Network, Node};

/// A CMS that does not see the stream asks again after so long.
const ASK_AGAIN: Duration = Duration::from_secs(20);

pub(super) struct CmsNode {
    addr: SocketAddr,
    media: SocketAddr,
    talks: BTreeMap<End, MessageReader>,
    registered: Option<End>,
    /// The stream is seen at the media server.
    pub(super) streams: bool,
    ask_at: Option<Instant>,
    generation: u64,
}

impl CmsNode {
    pub(super) fn listen(addr: SocketAddr, media: SocketAddr, net: &mut Network) -> Self {
        net.listen(addr);
        Self {
            addr,
            media,
            talks: BTreeMap::new(),
            registered: None,
            streams: false,
            ask_at: None,
            generation: 0,
        }
    }

    /// After a power failure.
    pub(super) fn restart(&mut self, net: &mut Network) {
        net.listen(self.addr);
        self.talks.clear();
        (self.registered, self.ask_at) = (None, None);
    }

    fn message(&mut self, end: End, message: &Envelope, net: &mut Network) {
        if message.kind() == Some(MessageType::RegisterReq) {
            let register = Register::from_envelope(message).unwrap();
            let ack = RegisterAck::new(register.serial, ErrorNum::OK);
            let answer = ack.to_envelope(&message.cseq());
            net.send(end, answer.to_response("sim"));
            if self.registered != Some(end) {
                self.registered = Some(end);
                self.ask_at = Some(net.now());
            }
        }
    }

    fn ask(&mut self, net: &mut Network) {
        self.ask_at = Some(net.now() + ASK_AGAIN);
        let Some(end) = self.registered.filter(|_| !self.streams) else {
            return;
        };
        self.generation += 1;
        let (ip, port) = (self.media.ip().to_string(), self.media.port());
        let mut request = PushRequest::new("camera", 1, ip, port);
        request.generation = Some(self.generation);
        net.send(end, request.to_envelope(7).to_response("sim"));
    }
}

impl Node for CmsNode {
    fn host(&self) -> IpAddr {
        self.addr.ip()
    }

    fn handle(&mut self, event: Event, net: &mut Network) {
        match event {
            Event::Accepted { end, .. } => {
                self.talks.insert(end, MessageReader::default());
            }
            Event::Received { end, data } => {
                let Some(reader) = self.talks.get_mut(&end) else {
                    return;
                };
                reader.push(&data);
                let mut messages = Vec::new();
                while let Some(message) = reader.next_message().unwrap() {
                    messages.push(message.envelope().unwrap());
                }
                for message in messages {
                    self.message(end, &message, net);
                }
            }
            Event::Closed { end } | Event::Reset { end } => {
                self.talks.remove(&end);
                self.registered = self.registered.filter(|held| *held != end);
            }
            _ => {}
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.ask_at
    }

    fn handle_timeout(&mut self, net: &mut Network) {
        self.ask(net);
    }
}
