//! A CMS that is good, bad, or somebody else.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use easydarwin_core::protocol::login::{Verifier, nonce};
use easydarwin_core::protocol::{
    Envelope, ErrorNum, MessageReader, MessageType, PtzRequest, PushRequest, Register, RegisterAck,
    Route, Snapshot, SnapshotAck,
};
use easydarwin_core::sim::{End, Event, Network, Node};

use super::{KEY, SERIAL, TOKEN, clock_ms};

/// How a CMS behaves towards what comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mood {
    Good,
    /// Takes connections and says nothing.
    Silent,
    /// Lets in, then says nothing.
    SilentOnceIn,
    /// Sends the first half of each answer, and closes or not.
    Half {
        close: bool,
    },
    /// Challenges again and again.
    Doubtful,
    /// 503; `proven` only after the device's proof, with its own.
    Busy {
        retry_after: u64,
        proven: bool,
    },
    Refuses(ErrorNum),
    /// Sends elsewhere, with or without a lease.
    Redirects {
        to: SocketAddr,
        lets_in: bool,
    },
    /// Sends registered devices elsewhere.
    Drains {
        to: SocketAddr,
    },
    Closes,
    ClosesOnceIn,
    /// Refuses keep-alives.
    TakesBack,
    /// Sends what is no message.
    Babbles,
    /// Asks for more at once than anybody does.
    Floods,
    /// Somebody else in its place, without its secrets.
    Stranger {
        to: SocketAddr,
        asks: Ask,
    },
}

/// What a stranger is after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// That the device goes where he wants.
    Follow,
    /// That it stays away.
    Wait,
    /// That it believes him, with a proof that he made up.
    Believe,
    /// That it pushes before the login is done.
    Push,
}

/// What really happened, to judge the device by.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// The device's ends that lead through TLS.
    pub(crate) secure: BTreeSet<End>,
    /// The device's ends on which the CMS has shown who it is.
    pub(crate) proven: BTreeSet<End>,
    /// Where a CMS that was to be believed has sent the device.
    pub(crate) named: BTreeSet<SocketAddr>,
    /// What each address last asked for as time to wait, and whether it was to be believed.
    pub(crate) asked: BTreeMap<SocketAddr, (Duration, bool)>,
    /// Where strangers sit now.
    pub(crate) strangers: BTreeSet<SocketAddr>,
}

pub(crate) type SharedLedger = Rc<RefCell<Ledger>>;

pub(crate) struct Cms {
    pub(crate) addr: SocketAddr,
    mood: Mood,
    verifier: Verifier,
    ledger: SharedLedger,
    talks: BTreeMap<End, Talk>,
}

#[derive(Default)]
struct Talk {
    reader: MessageReader,
    client_nonce: String,
    nonce: String,
    is_in: bool,
}

impl Cms {
    pub(crate) fn new(
        net: &mut Network,
        addr: SocketAddr,
        verifier: Verifier,
        ledger: SharedLedger,
    ) -> Self {
        net.listen(addr);
        Self {
            addr,
            mood: Mood::Good,
            verifier,
            ledger,
            talks: BTreeMap::new(),
        }
    }

    pub(crate) fn set_mood(&mut self, mood: Mood, net: &mut Network) {
        net.note(format!("{} is {mood:?}", self.addr));
        let strangers = &mut self.ledger.borrow_mut().strangers;
        if matches!(mood, Mood::Stranger { .. }) {
            strangers.insert(self.addr);
        } else {
            strangers.remove(&self.addr);
        }
        self.mood = mood;
    }

    /// It was killed: it knows nobody any more.
    pub(crate) fn forget(&mut self) {
        self.talks.clear();
    }

    /// Whether it has the device on this end of the device's.
    pub(crate) fn has(&self, device: End) -> bool {
        self.talks
            .get(&device.other())
            .is_some_and(|talk| talk.is_in)
    }

    fn message(&mut self, end: End, message: &Envelope, net: &mut Network) {
        match message.kind() {
            Some(MessageType::RegisterReq) => {
                let register =
                    Register::from_envelope(message).expect("a register that can be read");
                self.register(end, &register, &message.cseq(), net);
            }
            Some(MessageType::PostSnapReq) if self.mood == Mood::Good => {
                let snapshot = Snapshot::from_envelope(message).expect("a snapshot");
                let ack = SnapshotAck {
                    error: ErrorNum::OK,
                    serial: snapshot.serial,
                    channel: snapshot.channel,
                };
                self.send(end, &ack.to_envelope(&message.cseq()), net);
            }
            _ => {}
        }
    }

    fn register(&mut self, end: End, register: &Register, cseq: &str, net: &mut Network) {
        assert_eq!(register.serial, SERIAL);
        let talk = self.talks.get_mut(&end).expect("a connection");
        if talk.is_in {
            self.keep_alive(end, cseq, net);
            return;
        }
        let is_key = register.auth.is_some();
        if is_key && register.proof.is_none() {
            talk.client_nonce = register.client_nonce.clone().expect("a nonce");
            talk.nonce = nonce([u8::try_from(net.random().below(256)).unwrap_or(0); 18]);
        }
        if let Mood::Stranger { to, asks } = self.mood {
            self.fool(end, to, asks, register, cseq, net);
            return;
        }
        let early = match &self.mood {
            Mood::Silent => return,
            Mood::Closes => return self.leave(end, net),
            Mood::Babbles => {
                return net.send(end, "\x16\x03\x01 this is no message\r\n\r\n".repeat(9));
            }
            Mood::Refuses(error) => Some(RegisterAck::new(SERIAL, *error)),
            Mood::Busy {
                retry_after,
                proven: false,
            } => Some(self.busy(end, *retry_after, false)),
            _ => None,
        };
        if let Some(ack) = early {
            self.send(end, &ack.to_envelope(cseq), net);
            return;
        }
        let talk = self.talks.get(&end).expect("a connection");
        let proof = register.proof.as_deref();
        if is_key && (proof.is_none() || self.mood == Mood::Doubtful) {
            let mut ack = RegisterAck::new(SERIAL, ErrorNum::UNAUTHORIZED);
            ack.nonce = Some(talk.nonce.clone());
            self.send(end, &ack.to_envelope(cseq), net);
            return;
        }
        let (client_nonce, challenge) = (&talk.client_nonce, &talk.nonce);
        let mut ack = RegisterAck::new(SERIAL, ErrorNum::OK);
        let is_right = match proof {
            Some(proof) => self.verifier.check(SERIAL, client_nonce, challenge, proof),
            None => register.token.as_deref() == Some(TOKEN),
        };
        if !is_right {
            // It answers the challenge of a stranger who is gone, or keeps alive what he let in.
            ack.error = ErrorNum::UNAUTHORIZED;
            self.send(end, &ack.to_envelope(cseq), net);
            return;
        }
        if is_key {
            ack.server_proof = Some(self.verifier.server_proof(SERIAL, client_nonce, challenge));
            self.ledger.borrow_mut().proven.insert(end.other());
        }
        ack.time_ms = Some(clock_ms(net.elapsed()));
        ack.keep_alive_s = Some(60);
        self.let_in(end, ack, cseq, net);
    }

    /// The device has shown who it is.
    fn let_in(&mut self, end: End, mut ack: RegisterAck, cseq: &str, net: &mut Network) {
        match self.mood.clone() {
            Mood::Busy { retry_after, .. } => {
                let busy = self.busy(end, retry_after, self.is_believed(end));
                ack.error = busy.error;
                ack.retry_after_s = busy.retry_after_s;
            }
            Mood::Redirects { to, lets_in } => {
                if !lets_in {
                    ack.error = ErrorNum::MOVED;
                }
                self.redirect(end, &mut ack, to);
            }
            _ => {}
        }
        let is_in = ack.error.is_success();
        self.send(end, &ack.to_envelope(cseq), net);
        if let Some(talk) = self.talks.get_mut(&end).filter(|_| is_in) {
            talk.is_in = true;
        }
        match self.mood {
            Mood::ClosesOnceIn => self.leave(end, net),
            Mood::Floods if is_in => {
                // More than the engine keeps.
                for cseq in 1..=80 {
                    self.send(end, &ptz().to_envelope(cseq), net);
                }
                self.send(end, &push(81), net);
            }
            Mood::Good if is_in => {
                self.send(end, &push(1), net);
                self.send(end, &ptz().to_envelope(2), net);
            }
            _ => {}
        }
    }

    fn keep_alive(&mut self, end: End, cseq: &str, net: &mut Network) {
        let mut ack = RegisterAck::new(SERIAL, ErrorNum::OK);
        ack.time_ms = Some(clock_ms(net.elapsed()));
        match self.mood {
            Mood::Silent | Mood::SilentOnceIn => return,
            Mood::TakesBack => ack.error = ErrorNum::CONFLICT,
            Mood::Drains { to } => self.redirect(end, &mut ack, to),
            _ => {}
        }
        self.send(end, &ack.to_envelope(cseq), net);
    }

    fn fool(
        &mut self,
        end: End,
        to: SocketAddr,
        asks: Ask,
        register: &Register,
        cseq: &str,
        net: &mut Network,
    ) {
        if self.ledger.borrow().secure.contains(&end.other()) {
            // He came between after the handshake, and can read nothing.
            return;
        }
        let mut ack = RegisterAck::new(SERIAL, ErrorNum::OK);
        match asks {
            Ask::Follow => {
                ack.redirect = Some(to.to_string());
                if net.random().per_mille(500) {
                    ack.error = ErrorNum::MOVED;
                }
            }
            Ask::Wait => {
                ack.error = ErrorNum::UNAVAILABLE;
                ack.retry_after_s = Some(1_000_000);
                let asked = (Duration::from_secs(1_000_000), false);
                self.ledger.borrow_mut().asked.insert(self.addr, asked);
            }
            Ask::Believe if register.auth.is_some() && register.proof.is_none() => {
                ack.error = ErrorNum::UNAUTHORIZED;
                ack.nonce = Some("made-up".into());
            }
            Ask::Believe => {
                ack.server_proof = Some("bWFkZSB1cA==".into());
                ack.redirect = Some(to.to_string());
                ack.retry_after_s = Some(1_000_000);
            }
            Ask::Push => {
                self.send(end, &push(1), net);
                ack.error = ErrorNum::UNAUTHORIZED;
                ack.nonce = Some("made-up".into());
            }
        }
        self.send(end, &ack.to_envelope(cseq), net);
    }

    fn busy(&self, end: End, retry_after: u64, proven: bool) -> RegisterAck {
        let mut ack = RegisterAck::new(SERIAL, ErrorNum::UNAVAILABLE);
        ack.retry_after_s = Some(retry_after);
        let secure = self.ledger.borrow().secure.contains(&end.other());
        let asked = (Duration::from_secs(retry_after), proven || secure);
        self.ledger.borrow_mut().asked.insert(self.addr, asked);
        ack
    }

    fn redirect(&self, end: End, ack: &mut RegisterAck, to: SocketAddr) {
        ack.redirect = Some(to.to_string());
        if self.is_believed(end) {
            self.ledger.borrow_mut().named.insert(to);
        }
    }

    fn is_believed(&self, end: End) -> bool {
        let ledger = self.ledger.borrow();
        ledger.secure.contains(&end.other()) || ledger.proven.contains(&end.other())
    }

    fn send(&mut self, end: End, message: &Envelope, net: &mut Network) {
        let mut bytes = message.to_response("EasyDarwin");
        if let Mood::Half { close } = self.mood {
            bytes.truncate(bytes.len() / 2);
            net.send(end, bytes);
            if close {
                self.leave(end, net);
            }
            return;
        }
        net.send(end, bytes);
    }

    fn leave(&mut self, end: End, net: &mut Network) {
        self.talks.remove(&end);
        net.close(end);
    }
}

impl Node for Cms {
    fn host(&self) -> IpAddr {
        self.addr.ip()
    }

    fn handle(&mut self, event: Event, net: &mut Network) {
        match event {
            Event::Accepted { end, .. } => {
                self.talks.insert(end, Talk::default());
            }
            Event::Received { end, data } => {
                let text = String::from_utf8_lossy(&data);
                assert!(!text.contains(KEY), "the key itself was sent");
                if let Some(talk) = self.talks.get_mut(&end) {
                    talk.reader.push(&data);
                }
                while let Some(talk) = self.talks.get_mut(&end) {
                    match talk.reader.next_message().expect("framing") {
                        Some(message) => {
                            let message = message.envelope().expect("a message");
                            self.message(end, &message, net);
                        }
                        None => break,
                    }
                }
            }
            Event::Closed { end } | Event::Reset { end } => {
                self.talks.remove(&end);
                net.close(end);
            }
            _ => {}
        }
    }
}

fn push(cseq: u32) -> Envelope {
    let mut request = PushRequest::new(SERIAL, 1, "192.0.2.5", 10554);
    request.stream_id = Some("token".into());
    request.to_envelope(cseq)
}

fn ptz() -> PtzRequest {
    PtzRequest {
        serial: SERIAL.into(),
        channel: 1,
        protocol: "ONVIF".into(),
        reserve: "1".into(),
        action_type: "SINGLE".into(),
        command: "LEFT".into(),
        speed: "5".into(),
        route: Route::default(),
    }
}
