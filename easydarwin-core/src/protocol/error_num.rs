//! `ErrorNum` and `ErrorString`.

use std::fmt;

/// Result of a request: a number on the wire, with a fixed text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ErrorNum(u16);

impl ErrorNum {
    /// Done.
    pub const OK: Self = Self(200);
    /// Go to another one, for now.
    pub const MOVED: Self = Self(302);
    /// A field is missing or makes no sense.
    pub const BAD_REQUEST: Self = Self(400);
    /// Credentials are missing or wrong.
    pub const UNAUTHORIZED: Self = Self(401);
    /// Known, but without the right.
    pub const FORBIDDEN: Self = Self(403);
    /// No such thing.
    pub const NOT_FOUND: Self = Self(404);
    /// The peer on the other side did not answer in time.
    pub const TIMEOUT: Self = Self(408);
    /// Somebody else holds it.
    pub const CONFLICT: Self = Self(409);
    /// A medium or codec that we cannot take.
    pub const UNSUPPORTED_MEDIA: Self = Self(415);
    /// Too much of it; this one was dropped.
    pub const TOO_MANY: Self = Self(429);
    /// Our own fault.
    pub const INTERNAL: Self = Self(500);
    /// Not a thing we do.
    pub const NOT_IMPLEMENTED: Self = Self(501);
    /// Nobody is there to do it now.
    pub const UNAVAILABLE: Self = Self(503);
    /// No device of this serial.
    pub const DEVICE_NOT_FOUND: Self = Self(603);
    /// No session of this number.
    pub const SESSION_NOT_FOUND: Self = Self(604);
    /// The device reports a failure of its own.
    pub const DEVICE_FAILURE: Self = Self(701);

    /// Any number that a peer may have sent.
    pub fn from_code(code: u16) -> Self {
        Self(code)
    }

    /// The number.
    pub fn code(self) -> u16 {
        self.0
    }

    /// Whether it is one of the 2xx.
    pub fn is_success(self) -> bool {
        (200..300).contains(&self.0)
    }

    /// The protocol's text for it.
    pub fn text(self) -> &'static str {
        match self.0 {
            200 => "Success OK",
            201 => "Success Created",
            202 => "Success Accepted",
            204 => "Success No Content",
            206 => "Success Partial Content",
            301 => "Redirect Permanent Moved",
            302 => "Redirect Temp Moved",
            303 => "Redirect See Other",
            305 => "Use Proxy",
            400 => "Client Bad Request",
            401 => "Client Unauthorized",
            402 => "Payment Required",
            403 => "Client Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            407 => "Proxy Authentication Required",
            408 => "Request Timeout",
            409 => "Conflict",
            412 => "Precondition Failed",
            415 => "Unsupported Media Type",
            429 => "Too Many Requests",
            500 => "Server Internal Error",
            501 => "Server Not Implemented",
            502 => "Server Bad Gateway",
            503 => "Server Unavailable",
            505 => "Version Not Supported",
            600 => "Memcache Not Found",
            601 => "Database Not Found",
            602 => "User Not Found",
            603 => "Device Not Found",
            604 => "Session Not Found",
            605 => "Service Not Found",
            620 => "Password Error",
            621 => "XML Parse Error",
            622 => "Permission Error",
            623 => "Local System Error",
            624 => "Param Error",
            700 => "Device Version Too Old",
            701 => "Device Failure",
            _ => "Unknown Error",
        }
    }
}

impl fmt::Display for ErrorNum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, self.text())
    }
}
