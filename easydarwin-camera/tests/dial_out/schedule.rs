//! One world that goes wrong and becomes good again, all of it out of one seed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use easydarwin_camera::control::{CmsAddress, ControlConfig, Credential};
use easydarwin_core::protocol::ErrorNum;
use easydarwin_core::protocol::login::DeviceKey;
use easydarwin_core::sim::{self, Link, Network, Node, Random};

use super::cms::{Ask, Cms, Ledger, Mood, SharedLedger};
use super::device::{Device, Figures};
use super::{KEY, SERIAL, TOKEN};

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
/// Nobody is there; strangers send devices to it.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 9, 9)), 10000);
/// How long bad times last at most.
const LONGEST_TROUBLE: Duration = Duration::from_secs(900);
/// Once all is well the device is back within this: silence is noticed after 90 s, a refusal that
/// was final waits up to 300 s, an unproven wait up to 75 s, the back-off up to 60 s; connecting and
/// logging in take up to 30 s at an address that died meanwhile.
const BACK_WITHIN: Duration = Duration::from_secs(600);
/// Who is registered for this long will stay: neither silence nor a refused keep-alive ends it.
const SETTLED: Duration = Duration::from_secs(160);
/// Spread beyond a wait that was asked for.
const HOLD_SPREAD: Duration = Duration::from_secs(15);

pub(crate) struct World {
    net: Network,
    device: Device,
    all: Vec<Cms>,
    random: Random,
    /// Of the addresses in `all`, how many the device is configured with.
    homes: usize,
    tls: bool,
    /// The longest wait that anybody asked for and that is to be obeyed.
    longest_hold: Duration,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut net = Network::new(seed ^ 0x5eed);
        let ledger = SharedLedger::new(Ledger::default().into());
        let homes = 1 + random.index(3);
        let count = homes + random.index(3);
        let key = DeviceKey::new(KEY, SERIAL);
        let addr = |n: usize| {
            let last = u8::try_from(n + 1).unwrap_or(1);
            SocketAddr::from(([10, 0, 1, last], 10000))
        };
        let all = (0..count)
            .map(|n| Cms::new(&mut net, addr(n), key.verifier().clone(), ledger.clone()))
            .collect();
        let tls = random.per_mille(300);
        let credential = if random.per_mille(650) {
            Credential::Key(key)
        } else {
            Credential::Token(TOKEN.into())
        };
        let mut config = ControlConfig::new(SERIAL, credential);
        let address = |at: String| match tls {
            true => CmsAddress::tls(at),
            false => CmsAddress::plain(at),
        };
        config.addresses = (0..homes).map(|n| address(addr(n).to_string())).collect();
        if random.per_mille(200) {
            let at = random.index(homes + 1);
            let nowhere = address("no-such-host.invalid:10000".into());
            config.addresses.insert(at, nowhere);
        }
        config.unproven_cms = random.per_mille(300);
        config.seed = random.next_u64();
        let device = Device::new(HOST, config, ledger, net.now());
        let mut world = Self {
            net,
            device,
            all,
            random,
            homes,
            tls,
            longest_hold: Duration::ZERO,
        };
        world.new_links();
        world
    }

    /// Trouble, then peace. Panics when the device does anything wrong.
    pub(crate) fn play(&mut self) -> Figures {
        if self.random.per_mille(500) {
            // It is registered before anything happens.
            self.run(Duration::from_secs(1));
        }
        let trouble = self.random.duration(LONGEST_TROUBLE);
        let count = 1 + self.random.below(12);
        for _ in 0..count {
            self.something_happens();
            let most = trouble * 2 / u32::try_from(count).unwrap_or(1);
            let time = self.random.duration(most);
            self.run(time);
        }
        let all_are_well = self.peace();
        let address = self.settles();
        if all_are_well && !self.is_home(&address) {
            self.run(Duration::from_secs(3700));
            let (_, address) = self.device.registered().expect("it stays at home");
            assert!(self.is_home(address), "at {address} for ever");
        }
        self.device.figures.clone()
    }

    /// Runs until the device stays where it is.
    fn settles(&mut self) -> CmsAddress {
        let since = self.net.now();
        let bound = BACK_WITHIN + self.longest_hold + HOLD_SPREAD;
        let mut here = None;
        loop {
            let now = self.net.now();
            match (self.device.registered(), here) {
                (Some((end, address)), Some((same, arrived))) if end == same => {
                    if now >= arrived + SETTLED {
                        let known = self.all.iter().any(|cms| cms.has(end));
                        assert!(known, "it believes to be registered");
                        return address.clone();
                    }
                }
                (Some((end, _)), _) => here = Some((end, now)),
                (None, _) => here = None,
            }
            let waited = now - since;
            let left = here.is_some() || waited < bound;
            assert!(left, "not back after {waited:?}");
            assert!(waited < bound * 2, "it comes and goes");
            self.run(Duration::from_secs(1));
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.net.elapsed()
    }

    fn run(&mut self, time: Duration) {
        let mut nodes: Vec<&mut dyn Node> = vec![&mut self.device];
        nodes.extend(self.all.iter_mut().map(|cms| cms as &mut dyn Node));
        let before = self.net.now();
        sim::run(&mut self.net, &mut nodes, time);
        assert_eq!(self.net.now() - before, time);
        self.check_dials();
    }

    /// The back-off's upper bounds are 1, 2, 4, 8, 15 s and then 15 s or 60 s; of each a random part
    /// is waited, on the average half. So many tries, and a good margin for the luck of one seed.
    fn check_dials(&self) {
        let figures = &self.device.figures;
        let dials = figures.dials - figures.hops;
        let seconds = self.net.elapsed().as_secs();
        let allowed = 16 + figures.lasting * 8 + seconds / 5;
        assert!(
            dials <= allowed,
            "{dials} dials in {seconds} s: {figures:?}"
        );
        let wakes = 100 + figures.dials * 4 + seconds;
        assert!(figures.wakes <= wakes, "{figures:?} in {seconds} s");
    }

    fn something_happens(&mut self) {
        let n = self.random.index(self.all.len());
        let host = self.all[n].addr.ip();
        match self.random.below(14) {
            0 => self.net.set_path(HOST, host, false),
            1 => self.net.set_path(HOST, host, true),
            2 => {
                if let Some(end) = self.device.end() {
                    self.net.cut(end);
                }
            }
            3 => {
                if let Some(end) = self.device.end() {
                    self.net.silence(end);
                }
            }
            4 if self.net.is_up(host) => {
                self.net.stop_host(host);
                self.all[n].forget();
            }
            4 => self.start(n),
            5 => self.net.stop_listening(self.all[n].addr),
            6 => self.net.listen(self.all[n].addr),
            7 => self.new_links(),
            8 => {
                self.device.reboot(self.net.now());
                self.net.stop_host(HOST);
                self.net.start_host(HOST);
            }
            9 => {
                // All of them at once: a bad release, a storm.
                let mood = self.mood();
                for cms in &mut self.all {
                    cms.set_mood(mood.clone(), &mut self.net);
                }
            }
            10 => {
                // In a circle, all of them.
                let lets_in = self.random.per_mille(500);
                for n in 0..self.all.len() {
                    let to = self.all[(n + 1) % self.all.len()].addr;
                    self.all[n].set_mood(Mood::Redirects { to, lets_in }, &mut self.net);
                }
            }
            _ => {
                let mood = self.mood();
                self.all[n].set_mood(mood, &mut self.net);
            }
        }
    }

    fn mood(&mut self) -> Mood {
        let to = self.random.index(self.all.len() + 1);
        let to = self.all.get(to).map_or(NOWHERE, |cms| cms.addr);
        let half = self.random.per_mille(500);
        match self.random.below(18) {
            0 => Mood::Silent,
            1 => Mood::SilentOnceIn,
            2 => Mood::Half { close: half },
            3 => Mood::Doubtful,
            4 | 5 => {
                let waits = [0, 1, 7, 40, 300, 2_000, 100_000];
                let retry_after = waits[self.random.index(waits.len())];
                let most = if half || self.tls { 3600 } else { 60 };
                let hold = Duration::from_secs(retry_after.min(most));
                self.longest_hold = self.longest_hold.max(hold);
                Mood::Busy {
                    retry_after,
                    proven: half,
                }
            }
            6 if half => Mood::Refuses(ErrorNum::UNAUTHORIZED),
            6 => Mood::Refuses(ErrorNum::FORBIDDEN),
            7 => Mood::Refuses(ErrorNum::INTERNAL),
            8 | 9 => Mood::Redirects { to, lets_in: half },
            10 => Mood::Drains { to },
            11 => Mood::Closes,
            12 => Mood::ClosesOnceIn,
            13 => Mood::TakesBack,
            14 => Mood::Babbles,
            15 => Mood::Floods,
            _ => {
                let asks = [Ask::Follow, Ask::Wait, Ask::Believe, Ask::Push];
                Mood::Stranger {
                    to: NOWHERE,
                    asks: asks[self.random.index(asks.len())],
                }
            }
        }
    }

    /// From now on all of them are good, or one is and the others never will be. Says which.
    fn peace(&mut self) -> bool {
        let only = self.random.per_mille(300);
        let good = self.random.index(self.homes);
        for n in 0..self.all.len() {
            let addr = self.all[n].addr;
            if only && n != good {
                let mood = self.useless();
                self.all[n].set_mood(mood, &mut self.net);
                continue;
            }
            self.all[n].set_mood(Mood::Good, &mut self.net);
            self.net.set_path(HOST, addr.ip(), true);
            if !self.net.is_up(addr.ip()) {
                self.start(n);
            }
            self.net.listen(addr);
        }
        !only
    }

    /// A mood in which a CMS is good for nothing for long.
    fn useless(&mut self) -> Mood {
        loop {
            let mood = self.mood();
            let good_enough = matches!(
                mood,
                Mood::Floods | Mood::Drains { .. } | Mood::Stranger { .. }
            );
            let leads = matches!(mood, Mood::Redirects { to, .. } if to != NOWHERE);
            if !good_enough && !leads {
                return mood;
            }
        }
    }

    fn start(&mut self, n: usize) {
        let addr = self.all[n].addr;
        self.net.start_host(addr.ip());
        self.net.listen(addr);
    }

    fn new_links(&mut self) {
        for n in 0..self.all.len() {
            let mut link = Link::with_delay(self.random.duration(Duration::from_millis(400)));
            link.jitter = self.random.duration(Duration::from_millis(200));
            link.loss = u16::try_from(self.random.below(100)).unwrap_or(0);
            link.random_cuts = self.random.per_mille(500);
            link.segment = 1 + self.random.index(1460);
            let host = self.all[n].addr.ip();
            self.net.set_link(HOST, host, link);
        }
    }

    fn is_home(&self, address: &CmsAddress) -> bool {
        let homes = self.all.iter().take(self.homes);
        homes
            .map(|cms| cms.addr.to_string())
            .any(|home| home == address.authority())
    }
}
