/// A URL as it may be logged: without user and password.
pub(crate) fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = easydarwin_core::rtsp::split_scheme(url) else {
        return url.to_owned();
    };
    let authority = rest.split('/').next().unwrap_or(rest);
    match authority.rsplit_once('@') {
        Some((login, _)) => {
            let rest = rest.get(login.len() + 1..).unwrap_or_default();
            format!("{scheme}://{rest}")
        }
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        for (url, shown) in [
            ("rtsp://h:1/a", "rtsp://h:1/a"),
            ("rtsp://u:p@h/a@b", "rtsp://h/a@b"),
            ("rtsp://u:p@x@h/a", "rtsp://h/a"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}
