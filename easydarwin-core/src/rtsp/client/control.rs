//! Which URL a control attribute means (RFC 2326, C.1.1), and what else servers mean by it.

use super::ClientUrl;
use crate::rtsp::split_scheme;

/// The base and the attribute with a slash between, also behind a query: what servers expect,
/// not what RFC 3986 makes of them.
pub(super) fn join(base: &str, control: Option<&str>) -> String {
    match control {
        None | Some("" | "*") => base.to_owned(),
        Some(absolute) if split_scheme(absolute).is_some() => absolute.to_owned(),
        Some(relative) => format!(
            "{}/{}",
            base.trim_end_matches('/'),
            relative.trim_start_matches('/')
        ),
    }
}

/// The `a=control` of the whole session.
pub(super) fn session_control(sdp: &str) -> Option<&str> {
    sdp.lines()
        .take_while(|line| !line.starts_with("m="))
        .find_map(|line| line.strip_prefix("a=control:"))
        .map(str::trim)
}

/// A base that can be used: some cameras write the scheme twice, or a path alone.
pub(super) fn repaired_base(value: &str) -> Option<&str> {
    let mut value = value.trim();
    while let Some((_, rest)) = split_scheme(value)
        && rest
            .split('/')
            .next()
            .is_some_and(|host| host.ends_with(':'))
    {
        value = rest;
    }
    ClientUrl::parse(value).is_ok().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bases_of_real_cameras() {
        for (value, base) in [
            // Vikylin YC2367C.
            (
                "rtsp://rtsp://10.1.8.83:554/stream0/",
                Some("rtsp://10.1.8.83:554/stream0/"),
            ),
            // Dahua: the slash stands behind the query.
            (
                "rtsp://192.168.5.111:554/cam/realmonitor?channel=1&subtype=1&unicast=true&proto=Onvif/",
                Some(
                    "rtsp://192.168.5.111:554/cam/realmonitor?channel=1&subtype=1&unicast=true&proto=Onvif/",
                ),
            ),
            (
                "rtsp://h/a?next=rtsp://x/",
                Some("rtsp://h/a?next=rtsp://x/"),
            ),
            ("/a/", None),
            ("rtsp://", None),
            ("", None),
        ] {
            assert_eq!(repaired_base(value), base, "{value}");
        }
    }
}
