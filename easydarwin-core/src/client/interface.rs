//! Sockets that belong to one interface.

use socket2::SockRef;

use super::ClientError;

/// From now on this socket sends and receives through the interface only.
pub(super) fn bind_to(socket: &SockRef<'_>, name: &str) -> Result<(), ClientError> {
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    let bound = socket.bind_device(Some(name.as_bytes()));
    #[cfg(not(any(target_os = "android", target_os = "fuchsia", target_os = "linux")))]
    let bound = {
        let _ = socket;
        Err(std::io::ErrorKind::Unsupported.into())
    };
    bound.map_err(|source| ClientError::Interface {
        name: name.to_owned(),
        source,
    })
}
