use std::fmt;

use super::{Repair, Repairs};

/// One entry of a `Transport` header (RFC 2326, 12.39).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Transport {
    /// `RTP/AVP/TCP` rather than `RTP/AVP` or `RTP/AVP/UDP`.
    pub tcp: bool,
    /// `multicast` rather than `unicast`.
    pub multicast: bool,
    /// `interleaved=`: channels of RTP and RTCP.
    pub interleaved: Option<(u8, u8)>,
    /// `client_port=`: ports of RTP and RTCP.
    pub client_port: Option<(u16, u16)>,
    /// `server_port=`: ports of RTP and RTCP.
    pub server_port: Option<(u16, u16)>,
    /// `ssrc=`
    pub ssrc: Option<u32>,
    /// `source=`: the address media comes from.
    pub source: Option<String>,
    /// `mode=RECORD` (or `receive`, as some write).
    pub record: bool,
}

/// A transport which a client asked for and which could be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportOffer {
    /// Interleaved into the RTSP connection on these channels: the asked ones, or free ones when
    /// none or taken ones were asked.
    Tcp {
        /// Channel of RTP.
        rtp: u8,
        /// Channel of RTCP.
        rtcp: u8,
    },
    /// Datagrams to or from these ports of the client.
    Udp {
        /// Port of RTP.
        rtp: u16,
        /// Port of RTCP.
        rtcp: u16,
    },
}

/// The transport that the server chose among the offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportAnswer {
    /// Interleaved, on the channels of the offer.
    Tcp {
        /// Channel of RTP.
        rtp: u8,
        /// Channel of RTCP.
        rtcp: u8,
    },
    /// Datagrams.
    Udp {
        /// The client's ports of RTP and RTCP, from the offer.
        client: (u16, u16),
        /// The server's ports of RTP and RTCP.
        server: (u16, u16),
    },
}

impl Transport {
    /// Reads a header value: a list in the sender's order of preference. Entries of profiles
    /// other than RTP/AVP, or with impossible channels, are left out; unknown parameters are
    /// ignored.
    pub fn parse_list(value: &str) -> Vec<Self> {
        Self::parse_repaired(value, &mut Repairs::default())
    }

    pub(super) fn parse_repaired(value: &str, repairs: &mut Repairs) -> Vec<Self> {
        split_outside_quotes(value, ',')
            .filter_map(|entry| Self::parse(entry, repairs))
            .collect()
    }

    fn parse(entry: &str, repairs: &mut Repairs) -> Option<Self> {
        let mut parts = split_outside_quotes(entry, ';').map(str::trim);
        let profile: String = parts.next()?.split_whitespace().collect();
        let mut transport = Self {
            tcp: match profile.to_ascii_uppercase().as_str() {
                "RTP/AVP" | "RTP/AVP/UDP" => false,
                "RTP/AVP/TCP" => true,
                _ => return None,
            },
            ..Self::default()
        };
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "multicast" => transport.multicast = true,
                // Channels that do not exist cannot be given, and others were not asked for.
                "interleaved" => transport.interleaved = Some(pair(value, u8::checked_add)?),
                "client_port" => transport.client_port = ports(value),
                "server_port" => transport.server_port = ports(value),
                "ssrc" => transport.ssrc = u32::from_str_radix(value, 16).ok(),
                "source" => transport.source = (!value.is_empty()).then(|| value.to_owned()),
                "mode" => {
                    transport.record = value.split(',').map(str::trim).any(|mode| {
                        mode.eq_ignore_ascii_case("record") || mode.eq_ignore_ascii_case("receive")
                    });
                }
                _ => {}
            }
        }
        // Some write RTP/AVP;interleaved=0-1.
        if !transport.tcp && transport.interleaved.is_some() && transport.client_port.is_none() {
            repairs.add(Repair::TransportWithoutTcp);
            transport.tcp = true;
        }
        Some(transport)
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.tcp { "RTP/AVP/TCP" } else { "RTP/AVP" })?;
        f.write_str(if self.multicast {
            ";multicast"
        } else {
            ";unicast"
        })?;
        if let Some(source) = &self.source {
            write!(f, ";source={source}")?;
        }
        if let Some((rtp, rtcp)) = self.client_port {
            write!(f, ";client_port={rtp}-{rtcp}")?;
        }
        if let Some((rtp, rtcp)) = self.server_port {
            write!(f, ";server_port={rtp}-{rtcp}")?;
        }
        if let Some((rtp, rtcp)) = self.interleaved {
            write!(f, ";interleaved={rtp}-{rtcp}")?;
        }
        if let Some(ssrc) = self.ssrc {
            write!(f, ";ssrc={ssrc:08X}")?;
        }
        if self.record {
            // The one spelling that ffmpeg understands as a server.
            f.write_str(";mode=record")?;
        }
        Ok(())
    }
}

/// `a-b`, or `a` alone, which means a and its successor.
fn pair<T: std::str::FromStr + Copy + From<u8>>(
    value: &str,
    checked_add: impl Fn(T, T) -> Option<T>,
) -> Option<(T, T)> {
    let (first, second) = match value.split_once('-') {
        Some((first, second)) => (first, Some(second)),
        None => (value, None),
    };
    let first: T = first.trim().parse().ok()?;
    let second = match second.map(str::trim) {
        Some(text) if !text.is_empty() => text.parse().ok()?,
        _ => checked_add(first, T::from(1))?,
    };
    Some((first, second))
}

fn ports(value: &str) -> Option<(u16, u16)> {
    pair(value, u16::checked_add).filter(|&(rtp, rtcp)| rtp != 0 && rtcp != 0)
}

fn split_outside_quotes(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c| {
        quoted ^= c == '"';
        c == separator && !quoted
    })
    .filter(|part| !part.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(value: &str) -> Transport {
        let list = Transport::parse_list(value);
        assert_eq!(list.len(), 1, "{value}");
        list.into_iter().next().unwrap()
    }

    #[test]
    fn what_clients_really_send() {
        // ffmpeg
        let t = one("RTP/AVP/UDP;unicast;client_port=21070-21071");
        assert!(!t.tcp && !t.record && t.client_port == Some((21070, 21071)));
        let t = one("RTP/AVP/TCP;unicast;interleaved=0-1;mode=record");
        assert!(t.tcp && t.record && t.interleaved == Some((0, 1)));
        // live555
        let t = one("RTP/AVP;unicast;client_port=5000-5001");
        assert!(!t.tcp);
        // GStreamer offers several at once.
        let list = Transport::parse_list(
            "RTP/AVP;unicast;client_port=5000-5001;mode=\"PLAY\",RTP/AVP;multicast;mode=\"PLAY\",\
             RTP/AVP/TCP;unicast;interleaved=0-1;mode=\"PLAY\"",
        );
        assert_eq!(list.len(), 3);
        assert!(list[1].multicast && list[2].tcp);
        // Odd spacing, one port, one channel, quotes with a comma, missing /TCP.
        let t = one(" rtp/avp ; unicast ; client_port = 5000 ; foo=bar ;; ");
        assert_eq!(t.client_port, Some((5000, 5001)));
        let t = one("RTP/AVP/TCP;interleaved=4 - 5;ssrc=0a0B0c0D;mode=\"PLAY,RECORD\"");
        assert!(t.record && t.interleaved == Some((4, 5)) && t.ssrc == Some(0x0a0b_0c0d));
        assert!(one("RTP/AVP;unicast;interleaved=2").tcp);
    }

    #[test]
    fn what_cannot_be_used_is_left_out() {
        assert!(Transport::parse_list("RAW/RAW/UDP;unicast, RTP/SAVP;unicast,,;").is_empty());
        assert!(Transport::parse_list("RTP/AVP/TCP;interleaved=255").is_empty());
        assert!(Transport::parse_list("RTP/AVP/TCP;interleaved=256-257").is_empty());
        assert_eq!(one("RTP/AVP;client_port=70000-70001").client_port, None);
        assert_eq!(one("RTP/AVP;client_port=0-1").client_port, None);
        assert_eq!(one("RTP/AVP;ssrc=xyz").ssrc, None);
    }

    #[test]
    fn written_as_read() {
        let text = "RTP/AVP;unicast;source=10.0.0.1;client_port=5000-5001;server_port=6000-6001;ssrc=0000CAFE";
        assert_eq!(one(text).to_string(), text);
        let text = "RTP/AVP/TCP;unicast;interleaved=2-3;mode=record";
        assert_eq!(one(text).to_string(), text);
    }
}
