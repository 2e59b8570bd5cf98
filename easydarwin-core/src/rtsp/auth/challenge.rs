use std::fmt;

/// An authentication scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// RFC 7616
    Digest,
    /// RFC 7617
    Basic,
    /// RFC 6750
    Bearer,
    /// Not known here.
    Other,
}

/// One challenge of a `WWW-Authenticate` header, or the parameters of an `Authorization` header.
///
/// `Debug` shows names only.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthParams {
    scheme: Scheme,
    params: Vec<(String, String)>,
}

impl AuthParams {
    /// Reads a header value; it may hold several challenges, separated by commas like their
    /// parameters.
    pub fn parse_list(value: &str) -> Vec<Self> {
        let mut list: Vec<Self> = Vec::new();
        for part in split_outside_quotes(value) {
            let part = part.trim();
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            // "Digest realm" begins a challenge, "nonce" continues one.
            let name = match name.trim().split_once([' ', '\t']) {
                Some((scheme, first)) => {
                    list.push(Self::new(scheme));
                    first.trim()
                }
                None if !part.contains('=') => {
                    list.push(Self::new(name.trim()));
                    continue;
                }
                None => name.trim(),
            };
            if let Some(challenge) = list.last_mut() {
                challenge
                    .params
                    .push((name.to_ascii_lowercase(), unquote(value.trim())));
            }
        }
        list
    }

    fn new(scheme: &str) -> Self {
        let known = [
            ("digest", Scheme::Digest),
            ("basic", Scheme::Basic),
            ("bearer", Scheme::Bearer),
        ];
        Self {
            scheme: known
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(scheme))
                .map_or(Scheme::Other, |(_, scheme)| *scheme),
            params: Vec::new(),
        }
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// A parameter, without quotes; the name in lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.params
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for AuthParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.params.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("AuthParams")
            .field("scheme", &self.scheme)
            .field("params", &names)
            .finish()
    }
}

fn split_outside_quotes(text: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    text.split(move |c| {
        let ends = c == ',' && !quoted;
        if c == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = c == '\\' && quoted && !escaped;
        ends
    })
    .filter(|part| !part.trim().is_empty())
}

fn unquote(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"') else {
        return value.to_owned();
    };
    let inner = inner.strip_suffix('"').unwrap_or(inner);
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_challenges_in_one_header() {
        let list = AuthParams::parse_list(
            "Digest realm=\"a, \\\"b\\\"\", nonce=abc,  qop=\"auth,auth-int\" , Basic realm=\"c\",Bearer, Weird x=y",
        );
        let schemes: Vec<Scheme> = list.iter().map(AuthParams::scheme).collect();
        assert_eq!(
            schemes,
            [Scheme::Digest, Scheme::Basic, Scheme::Bearer, Scheme::Other]
        );
        assert_eq!(list[0].get("realm"), Some("a, \"b\""));
        assert_eq!(list[0].get("nonce"), Some("abc"));
        assert_eq!(list[0].get("qop"), Some("auth,auth-int"));
        assert_eq!(list[1].get("realm"), Some("c"));
        assert_eq!(list[2].get("realm"), None);
    }

    #[test]
    fn nonsense_is_empty_or_odd_but_never_a_panic() {
        for text in ["", ",", "=", "\"", "a=\"", "Digest \\", "Digest a=\"\\"] {
            let _ = AuthParams::parse_list(text);
        }
    }
}
