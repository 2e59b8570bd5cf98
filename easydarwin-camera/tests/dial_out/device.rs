//! The engine on a simulated host: a shell that checks each step.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use easydarwin_camera::control::{
    ClockQuality, CmsAddress, ControlConfig, ControlEngine, ControlEvent, Credential,
    DisconnectReason,
};
use easydarwin_core::protocol::ErrorNum;
use easydarwin_core::sim::{End, Event, Network, Node};

use super::clock_ms;
use super::cms::SharedLedger;

/// What the socket's buffer takes: more waits in the engine.
const SOCKET_BUFFER: usize = 64 * 1024;
/// Events that one input may cause: some hundred requests in one piece of a stream.
const MOST_EVENTS: usize = 500;
/// Bytes that wait in the engine are given up beyond this.
const MOST_OUTPUT: usize = 5 << 20;

pub(crate) struct Device {
    host: IpAddr,
    pub(crate) engine: ControlEngine,
    config: ControlConfig,
    ledger: SharedLedger,
    pub(crate) link: Link,
    /// When each address may be dialed again.
    held: BTreeMap<SocketAddr, Instant>,
    pub(crate) figures: Figures,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Link {
    #[default]
    Down,
    Dialing(End, CmsAddress),
    Up {
        end: End,
        address: CmsAddress,
        since: Instant,
        registered: bool,
    },
}

/// What a schedule came to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    pub(crate) dials: u64,
    /// Of them those that followed a redirect.
    pub(crate) hops: u64,
    pub(crate) registered: u64,
    /// Registrations after which the next wait may be short.
    pub(crate) lasting: u64,
    pub(crate) wakes: u64,
    pub(crate) most_events: usize,
    pub(crate) redirects_in_a_row: u64,
    pub(crate) last_dial: Option<Instant>,
}

impl Device {
    pub(crate) fn new(
        host: IpAddr,
        config: ControlConfig,
        ledger: SharedLedger,
        now: Instant,
    ) -> Self {
        Self {
            host,
            engine: ControlEngine::new(config.clone(), now),
            config,
            ledger,
            link: Link::Down,
            held: BTreeMap::new(),
            figures: Figures::default(),
        }
    }

    /// Loses its memory.
    pub(crate) fn reboot(&mut self, now: Instant) {
        self.engine = ControlEngine::new(self.config.clone(), now);
        self.link = Link::Down;
        self.held.clear();
        // Nor does it know where it was sent.
        self.ledger.borrow_mut().named.clear();
        self.figures.redirects_in_a_row = 0;
        // Which is a success as far as the waits are concerned.
        self.figures.lasting += 1;
    }

    /// Its end of the connection over which it is registered.
    pub(crate) fn registered(&self) -> Option<(End, &CmsAddress)> {
        match &self.link {
            Link::Up {
                end,
                address,
                registered: true,
                ..
            } => Some((*end, address)),
            _ => None,
        }
    }

    pub(crate) fn end(&self) -> Option<End> {
        match &self.link {
            Link::Down => None,
            Link::Dialing(end, _) | Link::Up { end, .. } => Some(*end),
        }
    }

    fn drain(&mut self, net: &mut Network) {
        let mut events = 0;
        let mut expect_refused = false;
        while let Some(event) = self.engine.poll_event() {
            events += 1;
            assert_eq!(
                matches!(event, ControlEvent::LoginRefused { .. }),
                std::mem::take(&mut expect_refused),
                "{event:?}"
            );
            if let ControlEvent::Disconnect(reason) = &event {
                let last = matches!(
                    reason,
                    DisconnectReason::ServerProof | DisconnectReason::Unproven
                ) || matches!(reason, DisconnectReason::Refused(e) if [401, 403].contains(&e.code()));
                expect_refused = last;
            }
            self.act(event, net);
        }
        assert!(!expect_refused, "a person is to be told");
        self.figures.most_events = self.figures.most_events.max(events);
        assert!(events <= MOST_EVENTS, "{events} events at once");
        if let Link::Up { end, .. } = self.link {
            while net.under_way(end.other()) < SOCKET_BUFFER
                && let Some(bytes) = self.engine.take_output()
            {
                assert!(bytes.len() < MOST_OUTPUT);
                net.send(end, bytes);
            }
        } else {
            assert!(self.engine.take_output().is_none(), "bytes for nobody");
        }
        assert_eq!(self.engine.is_registered(), self.registered().is_some());
        let next = self.engine.poll_timeout().expect("it always has a plan");
        assert!(
            next < net.now() + Duration::from_secs(2 * 3600),
            "which is not far off"
        );
    }

    fn act(&mut self, event: ControlEvent, net: &mut Network) {
        let now = net.now();
        let is_in = self.registered().is_some();
        if !matches!(event, ControlEvent::Command { .. }) {
            net.note(format!("device: {event:?}"));
        }
        match event {
            ControlEvent::Connect { address, .. } => self.dial(address, net),
            ControlEvent::Disconnect(reason) => {
                if let DisconnectReason::Refused(ErrorNum::UNAVAILABLE) = reason {
                    self.note_hold(now);
                }
                if let DisconnectReason::Redirected(to) = &reason {
                    self.figures.redirects_in_a_row += 1;
                    self.forget_places_but(Some(to));
                } else {
                    self.figures.redirects_in_a_row = 0;
                }
                let end = self.end().expect("something to disconnect");
                self.down(now);
                net.close(end);
            }
            ControlEvent::LoginRefused { retry_in, .. } => {
                assert_eq!(self.link, Link::Down);
                assert!(retry_in > Duration::ZERO);
            }
            ControlEvent::Registered { proven, .. } => self.has_registered(proven, net),
            ControlEvent::TakeSnapshot { channel } => {
                assert!(is_in);
                assert!(
                    self.engine
                        .snapshot(channel, b"\xff\xd8 a small picture", now)
                );
            }
            ControlEvent::Command { id, .. } => {
                assert!(is_in, "a command before the login");
                // The others are answered by the engine when their time is over.
                if net.random().per_mille(700) {
                    assert!(self.engine.reply(id, ErrorNum::OK));
                }
            }
            ControlEvent::StartPush(_) | ControlEvent::StopPush { .. } => {
                assert!(is_in, "a push before the login");
            }
            ControlEvent::SnapshotAnswered { .. } => assert!(is_in),
            _ => {}
        }
    }

    fn dial(&mut self, address: CmsAddress, net: &mut Network) {
        assert_eq!(self.link, Link::Down, "two connections at once");
        let now = net.now();
        self.figures.dials += 1;
        let hop = self.figures.redirects_in_a_row;
        if hop > 0 {
            self.figures.hops += 1;
            assert!(hop <= 3, "{hop} redirects in a row");
        }
        self.figures.last_dial = Some(now);
        let Ok(to) = address.authority().parse::<SocketAddr>() else {
            // No such name.
            self.engine.disconnected(now);
            return;
        };
        if let Some(until) = self.held.get(&to) {
            assert!(now >= *until, "{to} asked for time until {until:?}");
        }
        if !self.config.addresses.contains(&address) {
            let named = self.ledger.borrow().named.contains(&to);
            assert!(
                named,
                "went to {to}, where nobody sent it who is to be believed"
            );
            let token = matches!(self.config.credential, Credential::Token(_));
            assert!(
                !token || address.is_tls(),
                "the token goes to {to} in plain text"
            );
        }
        let end = net.connect(self.host, to);
        self.link = Link::Dialing(end, address);
    }

    fn has_registered(&mut self, proven: bool, net: &mut Network) {
        let now = net.now();
        let Link::Up {
            end,
            address,
            since,
            registered,
        } = &mut self.link
        else {
            panic!("registered without connection");
        };
        assert!(!std::mem::replace(registered, true), "registered twice");
        self.figures.registered += 1;
        let (end, address, since) = (*end, address.clone(), *since);
        if self.config.addresses.contains(&address) {
            self.forget_places_but(None);
        }
        let ledger = self.ledger.borrow();
        assert!(!proven || ledger.proven.contains(&end), "proven by nobody");
        let key = matches!(self.config.credential, Credential::Key(_));
        let shown = proven || ledger.secure.contains(&end);
        assert!(
            shown || !key || self.config.unproven_cms,
            "taken in by {address}"
        );
        if proven || ledger.secure.contains(&end) {
            let wall = self.engine.wall_clock(now).expect("the CMS's time");
            let truth = std::time::UNIX_EPOCH + Duration::from_millis(clock_ms(net.elapsed()));
            let off = wall.duration_since(truth).unwrap_or_else(|e| e.duration());
            let most = now.saturating_duration_since(since) + Duration::from_millis(2);
            assert!(off <= most, "{off:?} off, {address}");
            assert_eq!(self.engine.clock_quality(), ClockQuality::Server);
        }
    }

    /// Of the places that it was sent to it knows the last one, and none once a home let it in.
    fn forget_places_but(&mut self, last: Option<&CmsAddress>) {
        let homes = self.config.addresses.iter().chain(last);
        let known: Vec<_> = homes.map(CmsAddress::authority).collect();
        self.held.retain(|at, _| known.contains(&&*at.to_string()));
    }

    /// Its address was told to us to be asked again later.
    fn note_hold(&mut self, now: Instant) {
        let Link::Up { address, .. } = &self.link else {
            panic!("refused without connection");
        };
        let to: SocketAddr = address.authority().parse().expect("an address");
        if let Some((asked, believed)) = self.ledger.borrow().asked.get(&to) {
            let most = if *believed { 3600 } else { 60 };
            let granted = (*asked).min(Duration::from_secs(most));
            self.held.insert(to, now + granted);
        }
    }

    fn down(&mut self, now: Instant) {
        if let Link::Up {
            since,
            registered: true,
            ..
        } = self.link
            && now.saturating_duration_since(since) >= Duration::from_secs(10)
        {
            self.figures.lasting += 1;
        }
        self.link = Link::Down;
    }
}

impl Node for Device {
    fn host(&self) -> IpAddr {
        self.host
    }

    fn handle(&mut self, event: Event, net: &mut Network) {
        let now = net.now();
        let ours = |end: &End| self.end() == Some(*end);
        match event {
            Event::Connected { end } if ours(&end) => {
                let Link::Dialing(_, address) = std::mem::take(&mut self.link) else {
                    panic!("connected twice");
                };
                let to: SocketAddr = address.authority().parse().expect("an address");
                let mut ledger = self.ledger.borrow_mut();
                if address.is_tls() && ledger.strangers.contains(&to) {
                    // His certificate is wrong.
                    drop(ledger);
                    self.figures.redirects_in_a_row = 0;
                    net.close(end);
                    self.engine.disconnected(now);
                } else {
                    if address.is_tls() {
                        ledger.secure.insert(end);
                    }
                    drop(ledger);
                    self.link = Link::Up {
                        end,
                        address,
                        since: now,
                        registered: false,
                    };
                    let byte = u8::try_from(net.random().below(256)).unwrap_or(0);
                    self.engine.connected([byte; 18], now);
                }
            }
            Event::NotConnected { end, .. } | Event::Closed { end } | Event::Reset { end }
                if ours(&end) =>
            {
                self.down(now);
                self.figures.redirects_in_a_row = 0;
                net.close(end);
                self.engine.disconnected(now);
            }
            Event::Received { end, data } if ours(&end) => self.engine.received(&data, now),
            Event::Connected { end } => net.close(end),
            _ => {}
        }
        self.drain(net);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.engine.poll_timeout()
    }

    fn handle_timeout(&mut self, net: &mut Network) {
        self.figures.wakes += 1;
        let now = net.now();
        self.engine.timeout(now);
        self.drain(net);
        let next = self.engine.poll_timeout().expect("it always has a plan");
        assert!(next > now, "it turns on the spot");
    }
}
