use std::fmt;

/// A status code (RFC 2326, 7.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Status(u16);

macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $reason:literal;)*) => {
        impl Status {
            $($(#[$doc])* #[doc = $reason] pub const $name: Self = Self($code);)*

            /// The usual reason phrase; empty for codes that we never send.
            pub fn reason(self) -> &'static str {
                match self.0 {
                    $($code => $reason,)*
                    _ => "",
                }
            }
        }
    };
}

statuses! {
    OK = 200, "OK";
    MOVED_PERMANENTLY = 301, "Moved Permanently";
    FOUND = 302, "Moved Temporarily";
    BAD_REQUEST = 400, "Bad Request";
    UNAUTHORIZED = 401, "Unauthorized";
    FORBIDDEN = 403, "Forbidden";
    NOT_FOUND = 404, "Not Found";
    NOT_ACCEPTABLE = 406, "Not Acceptable";
    REQUEST_TIMEOUT = 408, "Request Timeout";
    ENTITY_TOO_LARGE = 413, "Request Entity Too Large";
    URI_TOO_LONG = 414, "Request-URI Too Long";
    UNSUPPORTED_MEDIA_TYPE = 415, "Unsupported Media Type";
    HEADERS_TOO_LARGE = 431, "Request Header Fields Too Large";
    PARAMETER_NOT_UNDERSTOOD = 451, "Parameter Not Understood";
    NOT_ENOUGH_BANDWIDTH = 453, "Not Enough Bandwidth";
    SESSION_NOT_FOUND = 454, "Session Not Found";
    WRONG_STATE = 455, "Method Not Valid in This State";
    INVALID_RANGE = 457, "Invalid Range";
    PARAMETER_IS_READ_ONLY = 458, "Parameter Is Read-Only";
    AGGREGATE_NOT_ALLOWED = 459, "Aggregate Operation Not Allowed";
    ONLY_AGGREGATE = 460, "Only Aggregate Operation Allowed";
    UNSUPPORTED_TRANSPORT = 461, "Unsupported Transport";
    INTERNAL_ERROR = 500, "Internal Server Error";
    NOT_IMPLEMENTED = 501, "Not Implemented";
    UNAVAILABLE = 503, "Service Unavailable";
    GATEWAY_TIMEOUT = 504, "Gateway Timeout";
    VERSION_NOT_SUPPORTED = 505, "RTSP Version Not Supported";
    OPTION_NOT_SUPPORTED = 551, "Option Not Supported";
}

impl Status {
    /// Any code.
    pub const fn new(code: u16) -> Self {
        Self(code)
    }

    /// The number.
    pub const fn code(self) -> u16 {
        self.0
    }

    /// 2xx.
    pub const fn is_success(self) -> bool {
        self.0 >= 200 && self.0 < 300
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason() {
            "" => write!(f, "{}", self.0),
            reason => write!(f, "{} {reason}", self.0),
        }
    }
}
