use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::rtsp::{Method, RequestUri};

const VIA: Via = Via {
    peer: std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
    secure: false,
};
const SAFE: Via = Via {
    secure: true,
    ..VIA
};

struct Bench {
    realm: Realm,
    now: Instant,
}

impl Bench {
    fn new(change: impl FnOnce(&mut AuthConfig)) -> Self {
        let mut config = AuthConfig {
            realm: "camera \"1\"".to_owned(),
            ..AuthConfig::default()
        };
        change(&mut config);
        let now = Instant::now();
        Self {
            realm: Realm::new(config, [1; 32], now),
            now,
        }
    }

    fn secret(&self) -> UserSecret {
        UserSecret::from_password("u", self.realm.name(), "p")
    }

    fn challenge(&self, at: usize) -> AuthParams {
        let challenges = self.realm.challenges(VIA, false, self.now);
        AuthParams::parse_list(&challenges[at]).remove(0)
    }

    /// What the realm makes of a header sent with `DESCRIBE rtsp://h/a/1`.
    fn check(&self, value: &str) -> Result<Verdict, ProofError> {
        self.check_as(value, "DESCRIBE", "rtsp://h/a/1", VIA, self.now)
    }

    fn check_as(
        &self,
        value: &str,
        method: &str,
        uri: &str,
        via: Via,
        now: Instant,
    ) -> Result<Verdict, ProofError> {
        let uri = RequestUri::parse(uri, "h").unwrap();
        let proof = self
            .realm
            .read(value, (&Method::parse(method), &uri), via, now)?;
        assert_eq!(proof.check(None), Verdict::Wrong);
        Ok(proof.check(Some(&self.secret())))
    }
}

fn answer(challenge: &AuthParams, password: &str, uri: &str) -> String {
    answer_digest(challenge, ("u", password), ("DESCRIBE", uri), 1, "c").unwrap()
}

#[test]
fn what_is_answered_is_accepted_and_nothing_else() {
    for algorithm in [Algorithm::Md5, Algorithm::Sha256] {
        for qop in [false, true] {
            let bench = Bench::new(|config| {
                config.digest = vec![algorithm];
                config.md5_with_qop = qop;
            });
            let challenge = bench.challenge(0);
            let value = answer(&challenge, "p", "rtsp://h/a/1");
            assert_eq!(bench.check(&value), Ok(Verdict::Right));
            let wrong = answer(&challenge, "q", "rtsp://h/a/1");
            assert_eq!(bench.check(&wrong), Ok(Verdict::Wrong));
            let other = bench.check_as(&value, "ANNOUNCE", "rtsp://h/a/1", VIA, bench.now);
            assert_eq!(other, Ok(Verdict::Wrong), "of another method");
            let other = bench.check_as(&value, "DESCRIBE", "rtsp://h/a/2", VIA, bench.now);
            assert_eq!(other, Err(ProofError::OtherStream));
            // An HA1 of the other algorithm alone does not help.
            let uri = RequestUri::parse("rtsp://h/a/1", "h").unwrap();
            let target = (&Method::Describe, &uri);
            let proof = bench.realm.read(&value, target, VIA, bench.now).unwrap();
            let made = bench.secret();
            let (same, other) = match algorithm {
                Algorithm::Md5 => (made.md5_hex(), made.sha256_hex()),
                Algorithm::Sha256 => (made.sha256_hex(), made.md5_hex()),
            };
            let only = |ha1: Option<&str>| UserSecret::from_ha1(ha1.unwrap()).unwrap();
            assert_eq!(proof.check(Some(&only(same))), Verdict::Right);
            assert_eq!(proof.check(Some(&only(other))), Verdict::Wrong);
            assert!(!format!("{proof:?}").contains("response"));
        }
    }
}

#[test]
fn a_right_answer_to_an_old_nonce_is_stale() {
    let bench = Bench::new(|config| config.nonce_lifetime = Duration::from_secs(10));
    let challenge = bench.challenge(0);
    let later = bench.now + Duration::from_secs(10);
    let check = |password, via| {
        let value = answer(&challenge, password, "rtsp://h/a/1");
        bench.check_as(&value, "DESCRIBE", "rtsp://h/a/1", via, later)
    };
    assert_eq!(check("p", VIA), Ok(Verdict::Stale));
    assert_eq!(check("q", VIA), Ok(Verdict::Wrong));
    // The nonce of another life of the server, or of the client's address before last.
    let foreign = AuthParams::parse_list("Digest realm=\"camera \\\"1\\\"\", nonce=\"abc\"");
    let value = answer(&foreign[0], "p", "rtsp://h/a/1");
    assert_eq!(bench.check(&value), Ok(Verdict::Stale));
    let elsewhere = Via {
        peer: [10, 0, 0, 9].into(),
        secure: false,
    };
    let value = answer(&challenge, "p", "rtsp://h/a/1");
    let moved = bench.check_as(&value, "DESCRIBE", "rtsp://h/a/1", elsewhere, bench.now);
    assert_eq!(moved, Ok(Verdict::Stale));
    let again = bench.realm.challenges(VIA, true, later);
    assert!(again[0].ends_with("stale=true"), "{again:?}");
}

#[test]
fn the_uri_may_be_any_that_names_the_stream() {
    let bench = Bench::new(|_| {});
    let challenge = bench.challenge(0);
    for (sent, asked) in [
        // VLC signs the base URL in SETUP.
        ("rtsp://h:554/a/1/", "rtsp://h:554/a/1/trackID=0"),
        // HappyTime signs the stream's URL.
        (
            "rtsp://h:554/a/1?token=x",
            "rtsp://h:554/a/1/trackID=0?token=x",
        ),
        // Bosch signs a path.
        ("/a/1", "rtsp://h/a/1"),
        ("/a/1/trackID=1", "rtsp://h/a/1/trackID=1"),
        ("rtsp://other/a/1?x=y/streamid=0", "rtsp://h/a/1"),
        ("rtsp://u:p@h/a/1", "rtsp://h/a/1"),
        ("rtsp://h/a/1.sdp", "rtsp://h/a/1"),
        ("rtsp://h/%61/1", "rtsp://h/a/1"),
    ] {
        let value = answer(&challenge, "p", sent);
        let verdict = bench.check_as(&value, "DESCRIBE", asked, VIA, bench.now);
        assert_eq!(verdict, Ok(Verdict::Right), "{sent} for {asked}");
    }
    for sent in ["rtsp://h/a/11", "rtsp://h/a", "/", "*", "rtsp://h/b/1"] {
        let value = answer(&challenge, "p", sent);
        assert_eq!(bench.check(&value), Err(ProofError::OtherStream), "{sent}");
    }
}

#[test]
fn basic_is_for_tls_only() {
    let bench = Bench::new(|_| {});
    let plain = bench.realm.challenges(VIA, false, bench.now);
    assert!(!plain.iter().any(|c| c.starts_with("Basic")), "{plain:?}");
    let safe = bench.realm.challenges(SAFE, false, bench.now);
    assert_eq!(
        safe[1],
        "Basic realm=\"camera \\\"1\\\"\", charset=\"UTF-8\""
    );
    let value = answer_basic("u", "p");
    assert_eq!(bench.check(&value), Err(ProofError::NotOffered));
    let check = |value: &str| bench.check_as(value, "DESCRIBE", "rtsp://h/a/1", SAFE, bench.now);
    assert_eq!(check(&value), Ok(Verdict::Right));
    assert_eq!(check(&value.replace("Basic", "BASIC ")), Ok(Verdict::Right));
    assert_eq!(check(&answer_basic("u", "p:")), Ok(Verdict::Wrong));
    assert_eq!(check("Basic ???"), Err(ProofError::Unreadable));
    assert_eq!(check("Basic dQ=="), Err(ProofError::Unreadable));
    let without = Bench::new(|config| config.basic = false);
    assert_eq!(
        without.check_as(&value, "DESCRIBE", "rtsp://h/a/1", SAFE, without.now),
        Err(ProofError::NotOffered)
    );
}

#[test]
fn the_strongest_is_offered_first_and_md5_last_of_the_digests() {
    let bench = Bench::new(|config| config.digest = vec![Algorithm::Md5, Algorithm::Sha256]);
    let all = bench.realm.challenges(SAFE, false, bench.now);
    let [sha256, md5, basic] = all.as_slice() else {
        panic!("{all:?}");
    };
    assert!(sha256.ends_with(", algorithm=SHA-256, qop=\"auth\""));
    assert!(md5.starts_with("Digest") && !md5.contains("algorithm"));
    assert!(basic.starts_with("Basic"));
    // A client that forgets to name SHA-256.
    let challenge = AuthParams::parse_list(sha256).remove(0);
    let value = answer(&challenge, "p", "rtsp://h/a/1").replace(", algorithm=SHA-256", "");
    assert_eq!(bench.check(&value), Ok(Verdict::Right));
    // Not offered, so not taken.
    let md5_only = Bench::new(|_| {});
    assert_eq!(md5_only.check(&value), Err(ProofError::NotOffered));
}

#[test]
fn what_lacks_something_proves_nothing() {
    let bench = Bench::new(|config| config.md5_with_qop = true);
    let value = answer(&bench.challenge(0), "p", "rtsp://h/a/1");
    assert_eq!(bench.check(&value), Ok(Verdict::Right));
    for name in ["username", "nonce", "uri", "response", "nc", "cnonce"] {
        let without = value.replacen(&format!("{name}="), "x=", 1);
        assert_eq!(
            bench.check(&without),
            Err(ProofError::Unreadable),
            "{without}"
        );
    }
    let with_int = value.replace("qop=auth", "qop=auth-int");
    assert_eq!(bench.check(&with_int), Err(ProofError::NotOffered));
    for text in [
        "",
        "Digest",
        "Other x=y",
        "Bearer",
        "Digest a=b, Digest c=d",
    ] {
        assert_eq!(bench.check(text), Err(ProofError::Unreadable), "{text}");
    }
}

/// A parameter's value as a header carries it.
fn in_quotes(value: &str) -> String {
    format!("\"{}\"", algorithm::quoted(value))
}

proptest! {
    #[test]
    fn what_is_quoted_is_read_back(
        values in proptest::collection::vec("[ -~]{0,20}", 1..8),
        blanks in "[ \t]{0,2}",
    ) {
        let params: Vec<String> = values
            .iter()
            .enumerate()
            .map(|(at, value)| format!("p{at}{blanks}={blanks}{}", in_quotes(value)))
            .collect();
        let text = format!("Digest {}", params.join(&format!("{blanks},{blanks}")));
        let read = AuthParams::parse_list(&text);
        prop_assert_eq!(read.len(), 1, "{}", text);
        for (at, value) in values.iter().enumerate() {
            prop_assert_eq!(read[0].get(&format!("p{at}")), Some(value.as_str()));
        }
    }

    #[test]
    fn reading_an_authorization_never_panics_and_never_lets_in(
        text in "(Digest|Basic|Bearer|)[ ,]{0,2}((username|uri|nonce|response|qop|nc|cnonce|algorithm)=|[\"\\\\,= ]|\\PC{0,6}){0,20}",
    ) {
        let bench = Bench::new(|_| {});
        for via in [VIA, SAFE] {
            let uri = RequestUri::parse("rtsp://h/a/1", "h").unwrap();
            if let Ok(proof) = bench.realm.read(&text, (&Method::Describe, &uri), via, bench.now) {
                prop_assert_eq!(proof.check(Some(&bench.secret())), Verdict::Wrong);
            }
        }
    }

    #[test]
    fn a_changed_answer_is_not_right(at in any::<prop::sample::Index>(), with in "[ -~]") {
        let bench = Bench::new(|config| config.md5_with_qop = true);
        let value = answer(&bench.challenge(0), "p", "rtsp://h/a/1");
        // From the nonce to the response: there, every letter counts.
        let from = value.find("nonce=\"").unwrap() + 7;
        let nonce_end = from + 56;
        let to = from + at.index(nonce_end - from);
        let mut changed = value.clone();
        changed.replace_range(to..=to, &with);
        prop_assume!(changed != value);
        prop_assert_ne!(bench.check(&changed), Ok(Verdict::Right));
    }

    #[test]
    fn any_user_and_password_can_log_in(user in "[ -~]{1,12}", password in "\\PC{0,12}") {
        let bench = Bench::new(|_| {});
        let challenge = bench.challenge(0);
        let target = ("DESCRIBE", "rtsp://h/a/1");
        let value = answer_digest(&challenge, (&user, &password), target, 1, "c").unwrap();
        let uri = RequestUri::parse("rtsp://h/a/1", "h").unwrap();
        let proof = bench.realm.read(&value, (&Method::Describe, &uri), VIA, bench.now).unwrap();
        prop_assert_eq!(proof.user(), user.as_str());
        let secret = UserSecret::from_password(&user, bench.realm.name(), &password);
        prop_assert_eq!(proof.check(Some(&secret)), Verdict::Right);
    }
}
