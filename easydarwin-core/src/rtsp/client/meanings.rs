//! Other meanings of URLs, for servers that refuse the usual one.

use super::control::join;
use crate::rtsp::split_scheme;

/// What a track's control may mean, most usual first, each form once.
pub(crate) fn track_urls(base: &str, request: &str, control: Option<&str>) -> Vec<String> {
    let mut urls = vec![join(base, control), join(request, control)];
    if let Some(relative) = control.filter(|text| split_scheme(text).is_none() && *text != "*") {
        urls.extend(resolved(base, relative));
    }
    distinct(urls)
}

/// The forms in which PLAY may name the whole stream, most usual first, each form once.
pub(crate) fn aggregate_urls(aggregate: &str, base: &str, request: &str) -> Vec<String> {
    let bare = aggregate.trim_end_matches('/');
    distinct(vec![
        aggregate.to_owned(),
        bare.to_owned(),
        base.to_owned(),
        request.to_owned(),
        format!("{}/", request.trim_end_matches('/')),
    ])
}

/// As RFC 3986 resolves it: the last component of the base's path is replaced.
fn resolved(base: &str, relative: &str) -> Option<String> {
    let start = base.len() - split_scheme(base)?.1.len();
    let path = base
        .get(start..)?
        .find('/')
        .map_or(base.len(), |at| start + at);
    if relative.starts_with('/') {
        return Some(format!("{}{relative}", base.get(..path)?));
    }
    let end = base.find('?').unwrap_or(base.len());
    let last = base.get(..end)?.rfind('/').filter(|slash| *slash >= path)?;
    Some(format!("{}/{relative}", base.get(..last)?))
}

fn distinct(urls: Vec<String>) -> Vec<String> {
    let mut seen: Vec<String> = Vec::with_capacity(urls.len());
    for url in urls {
        if !seen.contains(&url) {
            seen.push(url);
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_meaning_once() {
        assert_eq!(
            track_urls(
                "rtsp://10.0.0.9/live/",
                "rtsp://cam:8554/live",
                Some("trackID=1")
            ),
            [
                "rtsp://10.0.0.9/live/trackID=1",
                "rtsp://cam:8554/live/trackID=1"
            ]
        );
        assert_eq!(
            track_urls("rtsp://h/a/b", "rtsp://h/a/b", Some("/video")),
            ["rtsp://h/a/b/video", "rtsp://h/video"]
        );
        assert_eq!(
            track_urls("rtsp://h/a/b?c=d/e", "rtsp://h/a/b?c=d/e", Some("t")),
            ["rtsp://h/a/b?c=d/e/t", "rtsp://h/a/t"]
        );
        // GeoVision: absolute, without the port; it is what the camera wants to read.
        let absolute = Some("rtsp://192.168.5.237/media/video1/video");
        assert_eq!(
            track_urls(
                "rtsp://192.168.5.237:8554/media/video1",
                "rtsp://w:8554/media/video1",
                absolute
            ),
            ["rtsp://192.168.5.237/media/video1/video"]
        );
        assert_eq!(
            aggregate_urls("rtsp://h/a/", "rtsp://h/a/", "rtsp://h/a"),
            ["rtsp://h/a/", "rtsp://h/a"]
        );
        assert_eq!(
            aggregate_urls("rtsp://h/a?x=1/", "rtsp://h/a?x=1/", "rtsp://w/a?x=1"),
            [
                "rtsp://h/a?x=1/",
                "rtsp://h/a?x=1",
                "rtsp://w/a?x=1",
                "rtsp://w/a?x=1/"
            ]
        );
    }
}
