/// Parameters whose values are secrets, in queries and (some recorders) in paths.
const SECRETS: [&str; 9] = [
    "password", "passwd", "passcode", "pass", "pwd", "token", "secret", "auth", "key",
];
/// What stands in place of a secret.
const HIDDEN: &str = "***";

/// A URL as it may be shown: without user and password, and with the values of parameters such
/// as `password=` and `token=` hidden, also where they stand in the path.
pub(crate) fn redacted(url: &str) -> String {
    let (scheme, rest) = match super::split_scheme(url) {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, url),
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let mut shown = String::with_capacity(url.len());
    if let Some(scheme) = scheme {
        shown.push_str(scheme);
        shown.push_str("://");
    }
    shown.push_str(host);
    let mut rest = path;
    while let Some(at) = rest.find('=') {
        let (before, value) = rest.split_at_checked(at + 1).unwrap_or((rest, ""));
        shown.push_str(before);
        let name_at = before
            .trim_end_matches('=')
            .rfind(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        let name = before
            .trim_end_matches('=')
            .get(name_at.map_or(0, |at| at + 1)..)
            .unwrap_or_default()
            .to_ascii_lowercase();
        rest = value;
        if SECRETS.iter().any(|secret| name.ends_with(secret)) {
            shown.push_str(HIDDEN);
            rest = value.get(value_end(value)..).unwrap_or_default();
        }
    }
    shown.push_str(rest);
    shown
}

/// Where a value ends: at the next delimiter, or at an underscore before the next `name=`
/// (`/user=admin_password=x_channel=1`).
fn value_end(value: &str) -> usize {
    let end = value.find(['&', '/', '?', ';']).unwrap_or(value.len());
    let within = value.get(..end).unwrap_or(value);
    within
        .match_indices('_')
        .map(|(at, _)| at)
        .find(|at| {
            let next = within.get(at + 1..).unwrap_or_default();
            let name = next.bytes().take_while(u8::is_ascii_alphabetic).count();
            name > 0 && next.as_bytes().get(name) == Some(&b'=')
        })
        .unwrap_or(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        for (url, shown) in [
            ("rtsp://h:1/a?b=c", "rtsp://h:1/a?b=c"),
            ("rtsp://u:p@h/a@b", "rtsp://h/a@b"),
            ("rtsp://u:p@x@h", "rtsp://h"),
            ("rtsp://u:p@h?a@b", "rtsp://h?a@b"),
            (
                "rtsp://h/s?user=a&password=hush&channel=1",
                "rtsp://h/s?user=a&password=***&channel=1",
            ),
            ("rtsp://h/s?Token=hu.sh", "rtsp://h/s?Token=***"),
            (
                "rtsp://h/s?access_token=hush==&x=1",
                "rtsp://h/s?access_token=***&x=1",
            ),
            // Xiongmai recorders.
            (
                "rtsp://h:554/user=admin_password=hu_sh_channel=1_stream=0.sdp?real_stream",
                "rtsp://h:554/user=admin_password=***_channel=1_stream=0.sdp?real_stream",
            ),
            ("u:p@h", "h"),
            ("nonsense", "nonsense"),
            ("", ""),
        ] {
            assert_eq!(redacted(url), shown);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics_or_shows_a_user(text in ".{0,80}") {
            let _ = redacted(&text);
            let shown = redacted(&format!("rtsp://us3r:pa55{}@h/", text.replace(['/', '?'], "")));
            proptest::prop_assert!(!shown.contains("pa55"));
        }
    }
}
