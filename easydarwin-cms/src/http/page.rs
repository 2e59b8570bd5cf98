//! The page: three files in the program.

/// A file of the page by its path: content type and text.
pub(super) fn file(path: &str) -> Option<(&'static str, &'static str)> {
    match path {
        "/" | "/index.html" => Some(("text/html; charset=utf-8", include_str!("page/index.html"))),
        "/page.css" => Some(("text/css; charset=utf-8", include_str!("page/page.css"))),
        "/page.js" => Some((
            "text/javascript; charset=utf-8",
            include_str!("page/page.js"),
        )),
        _ => None,
    }
}

/// What the page may load: scripts from here and the player from a media node; pictures and
/// connections from anywhere, because nodes live under names of their own.
pub(super) const CONTENT_POLICY: &str = "default-src 'self'; script-src 'self' http: https:; \
     connect-src 'self' http: https: ws: wss:; img-src 'self' data:; \
     media-src 'self' blob: http: https:; style-src 'self'; frame-ancestors 'none'";
