//! Messages between a media node and its CMS: our own, in the same framing and envelope.
//!
//! The node keeps one connection to the CMS's port. It joins with a proof of the join key
//! (the exchange of [`login`](super::login)), then
//!
//! - reports its load each beat, the first time with its whole inventory (also when the CMS
//!   asks for it in an answer), which is the truth for the CMS;
//! - tells at once what happens to a stream ([`NodeEvent`]);
//! - asks for streams that viewers want from it ([`Demand`]), and tells when nobody watches
//!   ([`FreeStream`](super::FreeStream));
//! - executes [`Grant`], [`Close`] and [`Revoke`].

mod command;
mod join;
mod report;
mod revoke;

pub use command::{Close, Demand, DemandAck, Grant, node_ack};
pub use join::{Endpoint, Join, JoinAck, TokenKey, node_serial};
pub use report::{NodeEvent, NodeStream, Report, ReportAck, StreamChange};
pub use revoke::{Revocation, Revoke, Revoked};

#[cfg(test)]
mod tests {
    use super::super::{Envelope, ErrorNum};
    use super::*;

    fn over_the_wire(message: &Envelope) -> Envelope {
        Envelope::parse(message.to_json().as_bytes()).unwrap()
    }

    #[test]
    fn every_node_message_survives_the_wire() {
        let mut endpoint = Endpoint::wan("media.example", 10554, Some(10080));
        endpoint.rtsps = Some(10322);
        endpoint.cidrs = vec!["10.0.0.0/8".into(), "fd00::/8".into()];
        let mut join = Join::new("n1", "nonce", vec![endpoint]);
        join.proof = Some("p".into());
        assert_eq!(
            Join::from_envelope(&over_the_wire(&join.to_envelope(1))).unwrap(),
            join
        );

        let mut ack = JoinAck::new(ErrorNum::OK);
        ack.keys.push(TokenKey {
            kid: "k".into(),
            key: "v".into(),
        });
        (ack.time_ms, ack.epoch, ack.beat_ms, ack.lease_ms) = (1, 2, 2000, 6000);
        assert_eq!(
            JoinAck::from_envelope(&over_the_wire(&ack.to_envelope("1"))).unwrap(),
            ack
        );

        let mut stream = NodeStream::new("cam/1", u64::MAX);
        stream.ready = true;
        let report = Report {
            load_permille: 5,
            streams: 1,
            viewers: 0,
            clock_ms: Some(1_700_000_000_000),
            inventory: Some(vec![stream.clone()]),
        };
        assert_eq!(
            Report::from_envelope(&over_the_wire(&report.to_envelope(2))).unwrap(),
            report
        );
        let empty = Report {
            inventory: Some(vec![]),
            ..Report::default()
        };
        assert_eq!(
            Report::from_envelope(&over_the_wire(&empty.to_envelope(2))).unwrap(),
            empty
        );

        let event = NodeEvent::new(StreamChange::Ready, stream);
        assert_eq!(
            NodeEvent::from_envelope(&over_the_wire(&event.to_envelope(3))).unwrap(),
            event
        );

        let grant = Grant::new("cam/1", 9, Some([127, 0, 0, 1].into()), 30);
        let wire = over_the_wire(&grant.to_envelope(4));
        assert_eq!(Grant::from_envelope(&wire).unwrap(), grant);
        assert_eq!(node_ack(&wire, ErrorNum::OK).unwrap().cseq(), "4");

        let close = Close::new("cam/1", 9, true);
        assert_eq!(
            Close::from_envelope(&over_the_wire(&close.to_envelope(5))).unwrap(),
            close
        );

        let whose = [
            Revoked::Subject("ann".into()),
            Revoked::Device("cam".into()),
            Revoked::Path("cam/2".into()),
        ];
        let revocations = whose.map(|what| Revocation::new(what, 7, 9_000));
        let revoke = Revoke::new(revocations.into(), 5);
        let wire = over_the_wire(&revoke.to_envelope(6));
        assert_eq!(Revoke::from_envelope(&wire).unwrap(), revoke);
        assert_eq!(Revoke::ack(&wire, ErrorNum::OK).cseq(), "6");
    }

    #[test]
    fn a_revocation_that_is_not_understood_is_no_revocation() {
        let what = Revoked::Device("cam".into());
        let revoke = Revoke::new(vec![Revocation::new(what, 7, 9_000)], 0);
        let text = revoke.to_envelope(1).to_json();
        for (from, to) in [
            ("\"Device\" : \"cam\"", "\"Realm\" : \"cam\""),
            ("\"Device\" : \"cam\"", "\"Device\" : \"../cam\""),
            ("\"NotBefore\" : \"7\"", "\"NotBefore\" : \"soon\""),
        ] {
            let changed = text.replace(from, to);
            assert_ne!(changed, text, "{from}");
            let message = Envelope::parse(changed.as_bytes()).unwrap();
            assert!(Revoke::from_envelope(&message).is_err(), "{to}");
        }
    }
}
