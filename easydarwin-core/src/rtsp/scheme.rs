/// A URL's scheme, and what stands behind `://` (RFC 3986, 3); `None` without that.
pub fn split_scheme(url: &str) -> Option<(&str, &str)> {
    // Not `split_once`: its search for texts of any length is a kilobyte or two in a firmware.
    let at = url
        .as_bytes()
        .windows(3)
        .position(|bytes| bytes == b"://")?;
    Some((url.get(..at)?, url.get(at + 3..)?))
}

#[cfg(test)]
mod tests {
    use super::split_scheme;

    #[test]
    fn it_is_what_split_once_finds() {
        for url in [
            "rtsp://h/a",
            "://",
            "a:b://c://d",
            "ä://ö",
            "rtsp:/h",
            "",
            "no url",
        ] {
            assert_eq!(split_scheme(url), url.split_once("://"), "{url:?}");
        }
    }
}
