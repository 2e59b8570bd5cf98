use serde::Serialize;

/// What sources do although they should not, and what is done about it. Each is counted, and
/// said in the log once per connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Quirk {
    /// SETUP was refused under the URL that the description names (a wrong `Content-Base`, a
    /// control attribute meant otherwise): the next meaning is asked for.
    OtherTrackUrl,
    /// PLAY was refused under the aggregate URL: other forms of it are asked for.
    OtherAggregateUrl,
    /// A track that is not the picture was refused: the stream goes on without it.
    TrackRefused,
    /// TCP was answered where UDP was asked for: taken.
    TransportSwapped,
    /// Media came before PLAY was answered: taken, it begins with the key frame.
    EarlyMedia,
    /// Media came on a channel that was not agreed on, and its payload type names one track
    /// that has had none: the channel is taken for that track's.
    ChannelAdopted,
    /// A frame on a channel that is nobody's: dropped. Old live555 sends those of sessions that
    /// it has not ended.
    UnknownChannel,
    /// What came on a channel for RTP is none: dropped.
    NotRtp,
    /// RTCP on the channel for RTP: taken as RTCP.
    RtcpOnRtpChannel,
    /// A keep-alive was refused: the next kind is used.
    KeepAliveRefused,
    /// The connection was closed upon a keep-alive: the next kind is used from then on.
    KeepAliveCloses,
    /// The session expired although it was kept alive: the first kind is tried again.
    KeepAliveIgnored,
    /// A session of an earlier connection was ended first, so that this one is let in.
    StaleTeardown,
    /// PLAY was refused because a session of an earlier connection holds the source: its end is
    /// waited for.
    StaleWait,
}

impl Quirk {
    /// For the log: what it is, and what is done.
    pub fn text(self) -> &'static str {
        match self {
            Self::OtherTrackUrl => "SETUP under the described URL refused, trying another meaning",
            Self::OtherAggregateUrl => "PLAY under the aggregate URL refused, trying another form",
            Self::TrackRefused => "a track that is no picture was refused, going on without it",
            Self::TransportSwapped => "asked for UDP, got TCP",
            Self::EarlyMedia => "media before the answer to PLAY",
            Self::ChannelAdopted => "media on a channel that was not agreed on, taken by its type",
            Self::UnknownChannel => "frames on unknown channels, dropped",
            Self::NotRtp => "no RTP on a channel for RTP, dropped",
            Self::RtcpOnRtpChannel => "RTCP on a channel for RTP, taken as RTCP",
            Self::KeepAliveRefused => "keep-alive refused, using the next kind",
            Self::KeepAliveCloses => "connection closed upon a keep-alive, using the next kind",
            Self::KeepAliveIgnored => "session expired, beginning with the first keep-alive again",
            Self::StaleTeardown => "ending a session of an earlier connection first",
            Self::StaleWait => "waiting for a session of an earlier connection to expire",
        }
    }
}
