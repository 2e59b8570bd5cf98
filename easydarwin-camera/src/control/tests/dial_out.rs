//! Whom the engine dials, and when; what time it believes it is.

use super::*;
use crate::control::dial::LASTING;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

fn with_addresses(addresses: &[&str]) -> Bench {
    let addresses = addresses.iter().copied().map(CmsAddress::plain).collect();
    Bench::with(|config| config.addresses = addresses)
}

fn with_token(address: CmsAddress) -> Bench {
    Bench::with(|config| {
        config.credential = Credential::Token("t".into());
        config.addresses = vec![address];
    })
}

impl Bench {
    /// Waits until the engine dials. Returns whom, and how long it took.
    fn dials(&mut self) -> (String, Duration) {
        let begin = self.now;
        loop {
            for event in self.events() {
                if let ControlEvent::Connect { address, .. } = event {
                    return (address.to_string(), self.now - begin);
                }
            }
            self.now = self.engine.poll_timeout().unwrap();
            self.engine.timeout(self.now);
        }
    }

    /// Whom it dials when the one before cannot be reached.
    fn dials_then_fails(&mut self) -> String {
        let (address, _) = self.dials();
        self.engine.disconnected(self.now);
        address
    }

    fn accepted(&mut self) -> RegisterAck {
        let hello = self.hello();
        self.answer_hello(&hello)
    }

    fn is_in(&mut self) {
        let ack = self.accepted();
        self.receive(&ack.to_envelope("2"));
        assert!(self.engine.is_registered());
    }

    fn is_sent_to(&mut self, to: &str) {
        let mut ack = self.accepted();
        ack.error = ErrorNum::MOVED;
        ack.redirect = Some(to.into());
        self.receive(&ack.to_envelope("2"));
        assert!(!self.engine.is_registered());
    }
}

#[test]
fn addresses_are_tried_in_turn_and_the_good_one_sticks() {
    let mut bench = with_addresses(&["a:1", "b:1", "c:1"]);
    let tried: Vec<_> = (0..4).map(|_| bench.dials_then_fails()).collect();
    assert_eq!(tried, ["a:1", "b:1", "c:1", "a:1"]);
    assert_eq!(bench.dials().0, "b:1");
    bench.is_in();
    bench.now += LASTING;
    bench.engine.disconnected(bench.now);
    // A short outage: the same one first, then the others.
    let tried: Vec<_> = (0..3).map(|_| bench.dials_then_fails()).collect();
    assert_eq!(tried, ["b:1", "c:1", "a:1"]);
}

#[test]
fn who_lets_in_and_closes_at_once_does_not_keep_us_from_the_others() {
    let mut bench = with_addresses(&["a:1", "b:1"]);
    assert_eq!(bench.dials().0, "a:1");
    bench.is_in();
    bench.engine.disconnected(bench.now + SECOND);
    assert_eq!(bench.dials().0, "b:1");
    bench.is_in();
    // Nor does one that falls silent.
    assert_eq!(bench.dials().0, "a:1");
}

#[test]
fn a_connection_that_does_not_come_about_is_given_up() {
    let mut bench = with_addresses(&["a:1", "b:1"]);
    bench.dials();
    bench.wait(10 * SECOND);
    let reason = DisconnectReason::ConnectTimeout;
    assert_eq!(bench.events(), [ControlEvent::Disconnect(reason)]);
    // It comes about after all: too late.
    bench.engine.connected([7; NONCE_LEN], bench.now);
    assert!(bench.sent().is_empty());
    assert_eq!(bench.dials().0, "b:1");
}

#[test]
fn a_secret_that_is_refused_here_may_be_right_there() {
    let mut bench = with_addresses(&["a:1", "b:1"]);
    bench.dials();
    bench.hello();
    bench.receive(&RegisterAck::new(SERIAL, ErrorNum::FORBIDDEN).to_envelope("1"));
    let (address, after) = bench.dials();
    assert_eq!((address.as_str(), after <= SECOND), ("b:1", true));
    bench.hello();
    bench.receive(&RegisterAck::new(SERIAL, ErrorNum::FORBIDDEN).to_envelope("1"));
    let (address, after) = bench.dials();
    assert_eq!(address, "a:1");
    assert!(after >= 25 * SECOND && after <= MINUTE, "{after:?}");
}

#[test]
fn who_asks_for_time_gets_some_of_it() {
    for (asked, least, most) in [
        (1, SECOND, 3 * SECOND),
        (20, 20 * SECOND, 35 * SECOND),
        (86_400, MINUTE, MINUTE + 15 * SECOND),
        (u64::MAX, MINUTE, MINUTE + 15 * SECOND),
    ] {
        let mut bench = Bench::new();
        bench.connect();
        let mut ack = RegisterAck::new(SERIAL, ErrorNum::UNAVAILABLE);
        ack.retry_after_s = Some(asked);
        bench.receive(&ack.to_envelope("1"));
        let (_, after) = bench.dials();
        assert!(after >= least && after <= most, "{asked}: {after:?}");
    }
    for (asked, least) in [(1_800, HOUR / 2), (86_400, HOUR)] {
        let mut bench = Bench::new();
        let mut ack = bench.prove();
        ack.error = ErrorNum::UNAVAILABLE;
        ack.retry_after_s = Some(asked);
        bench.receive(&ack.to_envelope("2"));
        let (_, after) = bench.dials();
        assert!(after >= least && after <= least + 15 * SECOND, "{after:?}");
    }
}

#[test]
fn a_full_cms_does_not_keep_us_from_another_one() {
    let mut bench = with_addresses(&["a:1", "b:1"]);
    bench.dials();
    bench.hello();
    let mut ack = RegisterAck::new(SERIAL, ErrorNum::UNAVAILABLE);
    ack.retry_after_s = Some(40);
    bench.receive(&ack.to_envelope("1"));
    let begin = bench.now;
    let mut tried = Vec::new();
    while bench.now < begin + 30 * SECOND {
        tried.push(bench.dials_then_fails());
    }
    assert!(tried.len() > 2 && tried.iter().all(|address| address == "b:1"));
    while bench.now < begin + 80 * SECOND {
        tried.push(bench.dials_then_fails());
    }
    assert!(tried.contains(&"a:1".to_owned()));
}

#[test]
fn goes_where_a_cms_sends_that_knows_the_key() {
    let mut bench = with_addresses(&["home:1"]);
    assert_eq!(bench.dials().0, "home:1");
    bench.is_sent_to("b:2");
    let reason = DisconnectReason::Redirected(CmsAddress::plain("b:2"));
    assert_eq!(bench.events(), [ControlEvent::Disconnect(reason)]);
    let (address, after) = bench.dials();
    assert_eq!((address.as_str(), after <= SECOND), ("b:2", true));
    bench.is_in();

    // After about an hour it asks at home, and stays when home wants it.
    let since = bench.now;
    let left = loop {
        bench.now = bench.engine.poll_timeout().unwrap();
        bench.engine.timeout(bench.now);
        bench.receive(&RegisterAck::new(SERIAL, ErrorNum::OK).to_envelope("9"));
        bench.sent();
        if !bench.engine.is_registered() {
            break bench.now - since;
        }
    };
    assert!(left > 50 * MINUTE && left <= HOUR, "{left:?}");
    let reason = DisconnectReason::GoingHome;
    assert!(bench.events().contains(&ControlEvent::Disconnect(reason)));
    assert_eq!(bench.dials().0, "home:1");
    bench.is_in();
    bench.now += LASTING;
    bench.engine.disconnected(bench.now);
    let tried: Vec<_> = (0..3).map(|_| bench.dials_then_fails()).collect();
    assert_eq!(tried, ["home:1"; 3], "the other one is forgotten");
}

#[test]
fn who_was_sent_to_nobody_comes_back() {
    let mut bench = with_addresses(&["home:1"]);
    bench.dials();
    bench.is_sent_to("b:2");
    let tried: Vec<_> = (0..3).map(|_| bench.dials_then_fails()).collect();
    assert_eq!(tried, ["b:2", "home:1", "b:2"], "while home is away, too");
    assert_eq!(bench.dials().0, "home:1");
    bench.is_in();
}

#[test]
fn three_redirects_are_followed_and_no_circle() {
    let mut bench = with_addresses(&["home:1"]);
    bench.dials();
    for hop in ["b:1", "c:1", "home:1"] {
        bench.is_sent_to(hop);
        assert_eq!(bench.dials().0, hop);
    }
    let mut ack = bench.accepted();
    ack.error = ErrorNum::MOVED;
    ack.redirect = Some("e:1".into());
    bench.receive(&ack.to_envelope("2"));
    let reason = DisconnectReason::Refused(ErrorNum::MOVED);
    assert_eq!(bench.events(), [ControlEvent::Disconnect(reason)]);
    assert_eq!(bench.dials().0, "home:1");
}

#[test]
fn a_redirect_beyond_the_third_that_lets_in_is_no_reason_to_leave() {
    let mut bench = with_addresses(&["home:1"]);
    bench.dials();
    for hop in ["b:1", "c:1", "d:1"] {
        bench.is_sent_to(hop);
        bench.dials();
    }
    let mut ack = bench.accepted();
    ack.redirect = Some("e:1".into());
    bench.receive(&ack.to_envelope("2"));
    assert!(bench.engine.is_registered());
}

#[test]
fn a_registered_device_is_sent_away_with_a_keep_alive() {
    let mut bench = Bench::new();
    bench.log_in();
    for to in ["", "nonsense", "cms:1", "a b:1"] {
        let mut ack = RegisterAck::new(SERIAL, ErrorNum::OK);
        ack.redirect = Some(to.into());
        bench.receive(&ack.to_envelope("3"));
        assert!(bench.engine.is_registered(), "{to}");
    }
    let mut ack = RegisterAck::new(SERIAL, ErrorNum::OK);
    ack.redirect = Some("b:1".into());
    bench.receive(&ack.to_envelope("3"));
    assert_eq!(bench.dials().0, "b:1");
}

#[test]
fn nobody_is_followed_who_has_not_shown_who_he_is() {
    // A stranger that takes the place of the CMS: no proof, or a wrong one.
    let redirect = |error| {
        let mut ack = RegisterAck::new(SERIAL, error);
        ack.redirect = Some("evil:1".into());
        ack
    };
    for error in [ErrorNum::OK, ErrorNum::MOVED, ErrorNum::UNAVAILABLE] {
        for taken in [false, true] {
            let mut bench = Bench::with(|config| config.unproven_cms = taken);
            bench.connect();
            bench.receive(&redirect(error).to_envelope("1"));
            if taken && error == ErrorNum::OK {
                // Nor with a keep-alive.
                bench.receive(&redirect(error).to_envelope("1"));
                assert!(bench.engine.is_registered());
            } else {
                assert!(!bench.engine.is_registered());
                assert_eq!(bench.dials().0, "cms:1");
            }
        }
        let mut bench = Bench::new();
        bench.prove();
        let mut ack = redirect(error);
        ack.server_proof = Some("AAAA".into());
        bench.receive(&ack.to_envelope("2"));
        assert_eq!(bench.dials().0, "cms:1");

        let mut bench = with_token(CmsAddress::plain("cms:1"));
        assert!(!bench.connect().ext.has(Extension::Redirect));
        bench.receive(&redirect(error).to_envelope("1"));
        if error != ErrorNum::OK {
            assert_eq!(bench.dials().0, "cms:1");
        }
    }
}

#[test]
fn a_token_follows_through_tls_only_and_stays_there() {
    let mut bench = with_token(CmsAddress::tls("cms:1"));
    assert!(bench.connect().ext.has(Extension::Redirect));
    let mut ack = RegisterAck::new(SERIAL, ErrorNum::MOVED);
    ack.redirect = Some("b:1".into());
    bench.receive(&ack.to_envelope("1"));
    assert_eq!(bench.dials().0, "tls://b:1");
    let register = bench.hello();
    assert_eq!(register.token.as_deref(), Some("t"));
    bench.receive(&RegisterAck::new(SERIAL, ErrorNum::OK).to_envelope("1"));
    assert!(bench.engine.is_registered());
}

#[test]
fn where_it_was_sent_it_wants_to_see_a_proof() {
    let mut bench = Bench::with(|config| {
        config.addresses = vec![CmsAddress::plain("home:1")];
        config.unproven_cms = true;
    });
    bench.dials();
    bench.is_sent_to("b:2");
    bench.dials();
    bench.hello();
    bench.receive(&RegisterAck::new(SERIAL, ErrorNum::OK).to_envelope("1"));
    assert!(!bench.engine.is_registered());
    let tried: Vec<_> = (0..3).map(|_| bench.dials_then_fails()).collect();
    assert_eq!(tried, ["home:1"; 3], "it does not go there again");
}

#[test]
fn knows_the_time_from_the_cms_or_from_its_vendor() {
    let mut bench = Bench::new();
    let hello = bench.connect();
    assert_eq!(hello.clock_quality, Some(ClockQuality::Unset));
    bench.now += SECOND / 10;
    let mut ack = bench.answer_hello(&hello);
    ack.time_ms = Some(1_795_386_123_000);
    bench.now += 2 * SECOND;
    bench.receive(&ack.to_envelope("2"));
    // It was noon at the CMS at some moment of the last two seconds.
    let wall = |ms| std::time::UNIX_EPOCH + Duration::from_millis(ms);
    let now = bench.now;
    assert_eq!(bench.engine.wall_clock(now), Some(wall(1_795_386_124_000)));
    assert_eq!(bench.engine.clock_quality(), ClockQuality::Server);
    assert!(bench.engine.clock_is_trusted());

    bench.wait(30 * SECOND);
    let keep_alive = bench.sent().pop().unwrap();
    let register = Register::from_envelope(&keep_alive).unwrap();
    assert_eq!(register.clock_quality, Some(ClockQuality::Server));
    // An answer to something else says nothing of now; one to this does.
    for (cseq, expected) in [
        ("2", 1_795_386_154_000),
        (&*keep_alive.cseq(), 1_800_000_000_000),
    ] {
        let mut ack = RegisterAck::new(SERIAL, ErrorNum::OK);
        ack.time_ms = Some(1_800_000_000_000);
        bench.receive(&ack.to_envelope(cseq));
        assert_eq!(bench.engine.wall_clock(bench.now), Some(wall(expected)));
    }
    bench
        .engine
        .set_clock(wall(1_900_000_000_000), ClockQuality::Ntp, bench.now);
    bench.wait(30 * SECOND);
    let register = Register::from_envelope(&bench.sent().pop().unwrap()).unwrap();
    assert_eq!(register.clock_quality, Some(ClockQuality::Ntp));
}

#[test]
fn the_time_of_a_stranger_is_not_to_judge_by() {
    let mut bench = Bench::with(|config| config.unproven_cms = true);
    bench.connect();
    let mut ack = RegisterAck::new(SERIAL, ErrorNum::OK);
    ack.time_ms = Some(1_795_386_123_000);
    bench.receive(&ack.to_envelope("1"));
    assert_eq!(bench.engine.clock_quality(), ClockQuality::Server);
    assert!(!bench.engine.clock_is_trusted());
}
