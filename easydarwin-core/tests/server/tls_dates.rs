//! Certificates that are not good yet, or no more.

use std::time::Duration;

use easydarwin_core::client::{ClientError, Player};
use easydarwin_core::tls::{TlsClock, TlsTrust};

use crate::support::{Server, Source, within};
use crate::tls::{Pair, believing, builder, rtsps};

/// `rustls` looks at dates only together with authorities; for pins it is done here.
#[tokio::test]
async fn dates_are_judged_by_the_time_that_is_known() {
    let pair = Pair::new("dates");
    let day = |n: u64| std::time::UNIX_EPOCH + Duration::from_secs(n * 24 * 3600);
    // From 2020 to the last day of 2029.
    let mut params = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2029, 12, 31);
    let key = rcgen::KeyPair::generate().unwrap();
    let made = params.self_signed(&key).unwrap();
    std::fs::write(pair.certificate(), made.pem()).unwrap();
    std::fs::write(pair.key(), key.serialize_pem()).unwrap();
    let server = Server::of(builder(pair.config())).await;
    let _source = Source::start(server.hub(), "cam/1");
    let url = rtsps(server.addr, "cam/1");
    // Anew each time: a session that goes on shows no certificate.
    let (by_authority, by_key) = (|| pair.trust(), || TlsTrust::pinned([pair.pin()]).unwrap());
    for trust in [&by_authority as &dyn Fn() -> TlsTrust, &by_key] {
        for (time, fault) in [
            (day(18_261), "NotValidYet"),
            (day(18_262), ""),
            (day(21_914), ""),
            (day(21_914) + Duration::from_secs(1), "Expired"),
        ] {
            let mut options = believing(trust());
            options.tls_clock = TlsClock::Known(time);
            match within(Player::connect(&url, options)).await {
                Ok(_) => assert_eq!(fault, "", "{time:?}"),
                Err(ClientError::Tls { source, .. }) => {
                    let said = format!("{source:?}");
                    assert!(
                        !fault.is_empty() && said.contains(fault),
                        "{time:?}: {said}"
                    );
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    server.stop().await;
}
