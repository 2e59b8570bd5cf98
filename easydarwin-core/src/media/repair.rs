use serde::{Serialize, Serializer};

/// Faults of peers that are repaired rather than refused. A setting named `strict` refuses them.
///
/// Each is counted, and said in the log once per session. What the RFCs leave to the peer is no
/// fault and stands here nowhere: parameter sets only in the description or only in the stream
/// (RFC 6184, 8.2.2), relative and absolute `a=control` (RFC 2326, C.1.1), lists of transports,
/// folded headers, RTP from another port than `client_port`, which names where a client
/// receives (RFC 2326, 12.39).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Repair {
    /// Lines of a message end with LF alone (RFC 2326, 4).
    LineEnds,
    /// Bytes of a message or description are no UTF-8 (RFC 2326, 4): replaced.
    NotUtf8,
    /// Blanks before, behind or doubled in a start line (RFC 2326, 6.1).
    StartLineBlanks,
    /// A known method that is not written in upper case (RFC 2326, 6.1).
    MethodCase,
    /// A version other than `RTSP/1.0`, of which it is a variant: taken as that.
    Version,
    /// Blanks or characters other than ASCII in a URI (RFC 2326, 3.2): escaped.
    UnencodedUri,
    /// A path where RFC 2326, 6.1 wants a URL: the address of the connection stands in.
    RelativeUri,
    /// A line between the headers that has no colon: left out.
    HeaderWithoutColon,
    /// No `CSeq`, or one that is no number (RFC 2326, 12.17): answers have none, or the same.
    MissingCseq,
    /// Bytes between messages that belong to nothing: skipped.
    Junk,
    /// No `Session` in a request of a session (RFC 2326, 12.37): the connection's is meant.
    MissingSession,
    /// No `Content-Type` with a description (RFC 2326, 12.16): SDP is meant.
    MissingContentType,
    /// SETUP of a publisher without `mode=record` (RFC 2326, 12.39): it is meant.
    TransportMode,
    /// `interleaved` with a transport that is not `RTP/AVP/TCP` (RFC 2326, 12.39): TCP is meant.
    TransportWithoutTcp,
    /// Interleaved channels that another track has, or one channel for RTP and RTCP: others are
    /// answered.
    ChannelsReassigned,
    /// A frame on a channel that is nobody's: dropped.
    UnknownChannel,
    /// Lines of a description do not end with CRLF (RFC 8866, 5).
    SdpLineEnds,
    /// Lines of a description that are missing, doubled, out of order, of unknown type or
    /// unreadable (RFC 8866, 5): left out, or put there.
    SdpLines,
    /// An `m=` line with fields missing or senseless (RFC 8866, 5.14).
    SdpMediaLine,
    /// A payload type that no readable `a=rtpmap` explains (RFC 8866, 6.6): the only one there is
    /// taken, or a default.
    SdpFormat,
    /// Parameter sets with start codes, or that cannot be read (RFC 6184, 8.1): stripped, or
    /// left out.
    SdpParameterSets,
    /// AAC without a mode or a readable configuration (RFC 3640, 4.1): made of clock rate and
    /// channels.
    SdpAudioConfig,
    /// Several tracks of which one has no `a=control`, or two the same (RFC 2326, C.1.1): the
    /// track's number stands in.
    SdpControl,
    /// A `Content-Base` that is no URL, or two in one (RFC 2326, C.1.1): mended, or the asked
    /// URL stands in.
    WrongBase,
    /// The SSRC changes within a session: readers see the old one go on.
    SsrcJump,
    /// Timestamps jump by more than the time that passed: readers see time go on.
    TimestampJump,
    /// Pictures end without a marker (RFC 6184, 5.1): the next timestamp, or some time, ends
    /// them.
    MissingMarkers,
    /// RTP on the port or channel for RTCP, or RTCP on the one for RTP: taken for what it is.
    RtpPort,
    /// RTP of one track on the port or channel of another: told by its payload type, if that
    /// track gets nothing on its own.
    OtherTrackPort,
}

impl Repair {
    /// For the log: what it is, and what is done.
    pub fn text(self) -> &'static str {
        match self {
            Self::LineEnds => "lines end with LF alone, taken",
            Self::NotUtf8 => "bytes that are no UTF-8, replaced",
            Self::StartLineBlanks => "start line with too many blanks, taken",
            Self::MethodCase => "method not in upper case, taken",
            Self::Version => "version is a variant of RTSP/1.0, taken as that",
            Self::UnencodedUri => "URI with blanks or other than ASCII, escaped",
            Self::RelativeUri => "path instead of a URL, own address put before it",
            Self::HeaderWithoutColon => "header line without colon, left out",
            Self::MissingCseq => "no CSeq or one that is no number, answered all the same",
            Self::Junk => "junk between messages, skipped",
            Self::MissingSession => "no Session header, the connection's session is meant",
            Self::MissingContentType => "description without Content-Type, taken for SDP",
            Self::TransportMode => "SETUP of a publisher without mode=record, taken as that",
            Self::TransportWithoutTcp => "interleaved without RTP/AVP/TCP, taken as TCP",
            Self::ChannelsReassigned => "interleaved channels are taken, others answered",
            Self::UnknownChannel => "frames on unknown channels, dropped",
            Self::SdpLineEnds => "lines of the description do not end with CRLF, taken",
            Self::SdpLines => "lines of the description are wrong or missing, not needed",
            Self::SdpMediaLine => "m= line with missing or senseless fields, completed",
            Self::SdpFormat => "payload type without a readable a=rtpmap, guessed",
            Self::SdpParameterSets => "parameter sets damaged, mended or left out",
            Self::SdpAudioConfig => "AAC without mode or configuration, made of its clock rate",
            Self::SdpControl => "a=control missing or not unique, numbered",
            Self::WrongBase => "Content-Base is no URL, mended or replaced by the asked one",
            Self::SsrcJump => "SSRC changed, readers see the old one go on",
            Self::TimestampJump => "timestamps jumped, readers see time go on",
            Self::MissingMarkers => "pictures end without marker, ended by the next timestamp",
            Self::RtpPort => "RTP and RTCP on each other's port or channel, told apart",
            Self::OtherTrackPort => "RTP on another track's port or channel, told by its type",
        }
    }

    /// The fault in a few words: a reason phrase for the peer that is refused.
    pub fn fault(self) -> &'static str {
        match self {
            Self::LineEnds => "Line ends other than CRLF",
            Self::NotUtf8 => "Not UTF-8",
            Self::StartLineBlanks => "Too many blanks in start line",
            Self::MethodCase => "Method not in upper case",
            Self::Version => "Version is not RTSP/1.0",
            Self::UnencodedUri => "URI not escaped",
            Self::RelativeUri => "URI not absolute",
            Self::HeaderWithoutColon => "Header without colon",
            Self::MissingCseq => "CSeq missing",
            Self::Junk => "Junk between messages",
            Self::MissingSession => "Session missing",
            Self::MissingContentType => "Content-Type missing",
            Self::TransportMode => "Transport without mode=record",
            Self::TransportWithoutTcp => "Interleaved without RTP/AVP/TCP",
            Self::ChannelsReassigned => "Interleaved channels in use",
            Self::UnknownChannel => "Unknown interleaved channel",
            Self::SdpLineEnds => "line end other than CRLF",
            Self::SdpLines => "line missing, misplaced or malformed",
            Self::SdpMediaLine => "malformed m= line",
            Self::SdpFormat => "payload type without readable a=rtpmap",
            Self::SdpParameterSets => "damaged parameter sets",
            Self::SdpAudioConfig => "AAC without mode or configuration",
            Self::SdpControl => "a=control missing or not unique",
            Self::WrongBase => "wrong Content-Base",
            Self::SsrcJump => "SSRC changed",
            Self::TimestampJump => "timestamps jumped",
            Self::MissingMarkers => "pictures without marker",
            Self::RtpPort => "RTP and RTCP on each other's port",
            Self::OtherTrackPort => "RTP on another track's port",
        }
    }
}

/// Repairs by kind. Empty, it holds nothing on the heap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repairs(
    /// In the order of kinds: there are few, and a device has no room for a map.
    Vec<(Repair, u64)>,
);

impl Serialize for Repairs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl Repairs {
    /// Counts one; true if it is the first of its kind.
    pub fn add(&mut self, repair: Repair) -> bool {
        self.add_many(repair, 1)
    }

    /// Counts several of a kind; true if they are the first.
    pub fn add_many(&mut self, repair: Repair, count: u64) -> bool {
        let place = self.0.iter().position(|(other, _)| *other >= repair);
        let place = place.unwrap_or(self.0.len());
        match self.0.get_mut(place) {
            Some((other, sum)) if *other == repair => {
                *sum = sum.saturating_add(count);
                false
            }
            _ => {
                self.0.insert(place, (repair, count));
                true
            }
        }
    }

    /// Counts those of `other`, too.
    pub fn merge(&mut self, other: &Self) {
        for (repair, count) in other.iter() {
            self.add_many(repair, count);
        }
    }

    /// How many of a kind.
    pub fn count(&self, repair: Repair) -> u64 {
        let mut kinds = self.0.iter();
        kinds
            .find(|(other, _)| *other == repair)
            .map_or(0, |(_, count)| *count)
    }

    /// Kinds and counts.
    pub fn iter(&self) -> impl Iterator<Item = (Repair, u64)> + '_ {
        self.0.iter().copied()
    }

    /// The first kind in their order.
    pub fn first(&self) -> Option<Repair> {
        self.0.first().map(|(repair, _)| *repair)
    }

    /// Nothing was repaired.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_kind_is_told_and_all_are_counted() {
        let mut repairs = Repairs::default();
        assert!(repairs.is_empty());
        assert!(repairs.add(Repair::SsrcJump));
        assert!(!repairs.add(Repair::SsrcJump));
        assert!(repairs.add(Repair::LineEnds));
        let mut sum = repairs.clone();
        sum.merge(&repairs);
        assert_eq!(sum.count(Repair::SsrcJump), 4);
        assert_eq!(sum.count(Repair::Junk), 0);
        assert_eq!(
            sum.iter().collect::<Vec<_>>(),
            [(Repair::LineEnds, 2), (Repair::SsrcJump, 4)]
        );
    }
}
