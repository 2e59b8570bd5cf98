use super::algorithm::{hex, push_quoted};
use super::{Algorithm, AuthParams, Scheme};
use crate::media::base64;

/// The `Authorization` value that answers a digest challenge. `count` is how often this nonce was
/// used, this time included; `cnonce` is random. `None`: the challenge cannot be answered.
pub fn answer_digest(
    challenge: &AuthParams,
    (user, password): (&str, &str),
    (method, uri): (&str, &str),
    count: u32,
    cnonce: &str,
) -> Option<String> {
    let algorithm = can_answer(challenge)?;
    let realm = challenge.get("realm").unwrap_or_default();
    let nonce = challenge.get("nonce")?;
    let with_qop = !challenge.get("qop").unwrap_or_default().is_empty();
    let nc = hex(&count.to_be_bytes());
    let ha1 = algorithm.ha1(user, realm, password);
    let ha2 = algorithm.hash(&[method, uri]);
    let response = if with_qop {
        algorithm.hash(&[&ha1, nonce, &nc, cnonce, "auth", &ha2])
    } else {
        algorithm.hash(&[&ha1, nonce, &ha2])
    };
    let mut value = String::from("Digest username=\"");
    push_quoted(&mut value, user);
    let mut next = |name: &str, text: &str| {
        value.push_str(name);
        push_quoted(&mut value, text);
    };
    next("\", realm=\"", realm);
    next("\", nonce=\"", nonce);
    next("\", uri=\"", uri);
    next("\", response=\"", &response);
    if let Some(opaque) = challenge.get("opaque") {
        next("\", opaque=\"", opaque);
    }
    next("\"", "");
    if challenge.get("algorithm").is_some() {
        next(", algorithm=", algorithm.name());
    }
    if with_qop {
        next(", qop=auth, nc=", &nc);
        next(", cnonce=\"", cnonce);
        next("\"", "");
    }
    Some(value)
}

/// The algorithm of a digest challenge that [`answer_digest`] answers.
pub fn can_answer(challenge: &AuthParams) -> Option<Algorithm> {
    if challenge.scheme() != Scheme::Digest {
        return None;
    }
    challenge.get("nonce")?;
    // Without qop it is RFC 2069, which nearly all cameras speak; auth-int alone is known by none.
    let qop = challenge.get("qop").unwrap_or_default();
    let mut offered = qop.split(',');
    let answered = qop.is_empty() || offered.any(|q| q.trim().eq_ignore_ascii_case("auth"));
    Algorithm::of(challenge).filter(|_| answered)
}

/// The `Authorization` value for Basic.
pub fn answer_basic(user: &str, password: &str) -> String {
    let mut pair = user.to_owned();
    pair.push(':');
    pair.push_str(password);
    let mut value = String::from("Basic ");
    base64::encode(pair.as_bytes(), &mut value);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(text: &str) -> AuthParams {
        AuthParams::parse_list(text).remove(0)
    }

    #[test]
    fn the_examples_of_the_rfcs() {
        // RFC 2617, 3.5.
        let c = challenge(
            "Digest realm=\"testrealm@host.com\", qop=\"auth,auth-int\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"",
        );
        let value = answer_digest(
            &c,
            ("Mufasa", "Circle Of Life"),
            ("GET", "/dir/index.html"),
            1,
            "0a4f113b",
        )
        .unwrap();
        assert!(value.contains("response=\"6629fae49393a05397450978507c4ef1\""));
        assert!(value.contains("nc=00000001"));
        // RFC 7616, 3.9.1.
        let c = challenge(
            "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm=SHA-256, nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"",
        );
        let value = answer_digest(
            &c,
            ("Mufasa", "Circle of Life"),
            ("GET", "/dir/index.html"),
            1,
            "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
        )
        .unwrap();
        assert!(value.contains(
            "response=\"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1\""
        ));
    }

    #[test]
    fn basic() {
        let value = answer_basic("Aladdin", "open sesame");
        assert_eq!(value, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }

    #[test]
    fn what_cannot_be_answered_is_not() {
        for text in [
            "Digest realm=\"x\"",
            "Digest realm=\"x\", nonce=\"y\", algorithm=SHA-512-256",
            "Digest realm=\"x\", nonce=\"y\", qop=\"auth-int\"",
            "Basic realm=\"x\", nonce=\"y\"",
        ] {
            let answer = answer_digest(&challenge(text), ("u", "p"), ("A", "b"), 1, "c");
            assert_eq!(answer, None, "{text}");
        }
    }
}
