use bytes::Bytes;

use super::aac::AudioSpecificConfig;
use super::{h264, h265};

/// What a stream carries: one entry per `m=` line, in the order of the description.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SessionDescription {
    /// The `s=` line; empty when the publisher gave none.
    pub name: String,
    /// The session-level `a=control` value as it came.
    pub control: Option<String>,
    /// One entry per media section (RFC 8866, 5.14).
    pub tracks: Vec<Track>,
}

/// The media type of a track (RFC 8866, 5.14).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// `m=video`
    Video,
    /// `m=audio`
    Audio,
    /// `m=application` and everything else: carried, not understood.
    Application,
}

/// One media section of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Track {
    /// Audio, video or data.
    pub kind: MediaKind,
    /// RTP payload type, 0 to 127.
    pub payload_type: u8,
    /// Encoding name of the `a=rtpmap` line as it came, for example `H264` or `MPEG4-GENERIC`.
    pub encoding: String,
    /// RTP clock in Hz.
    pub clock_rate: u32,
    /// Audio channels; 0 for other media.
    pub channels: u16,
    /// Parameters of the `a=fmtp` line as they came, without payload type.
    pub fmtp: Option<String>,
    /// The `a=control` value as it came (publishers' side; what we describe to readers is ours).
    pub control: Option<String>,
    /// What we understand of the encoding.
    pub codec: Codec,
}

/// The codecs that this crate understands; everything else is carried untouched.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Codec {
    /// H.264 (RFC 6184).
    H264(H264Params),
    /// H.265 (RFC 7798).
    H265(H265Params),
    /// MPEG-4 AAC (RFC 3640, mode AAC-hbr or AAC-lbr).
    Aac(AacParams),
    /// Opus (RFC 7587).
    Opus,
    /// G.711 (RFC 3551).
    G711(G711Law),
    /// G.726 (RFC 3551, 4.5.4).
    G726(G726Params),
    /// Baseline JPEG, one picture an access unit (RFC 2435).
    Jpeg,
    /// Carried, not understood.
    Other,
}

/// Parameter sets of an H.264 track: NAL units without start codes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct H264Params {
    /// Sequence parameter set, when known.
    pub sps: Option<Bytes>,
    /// Picture parameter sets in the order in which they came.
    pub pps: Vec<Bytes>,
}

/// Parameter sets of an H.265 track: NAL units without start codes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct H265Params {
    /// Video parameter set, when known.
    pub vps: Option<Bytes>,
    /// Sequence parameter set, when known.
    pub sps: Option<Bytes>,
    /// Picture parameter sets in the order in which they came.
    pub pps: Vec<Bytes>,
}

impl H264Params {
    /// Whether a decoder can be configured.
    pub fn is_complete(&self) -> bool {
        self.sps.is_some() && !self.pps.is_empty()
    }

    /// What the sequence parameter set says, if it is known and can be read.
    pub fn parse_sps(&self) -> Option<h264::Sps> {
        h264::Sps::parse(self.sps.as_ref()?).ok()
    }
}

impl H265Params {
    /// Whether a decoder can be configured.
    pub fn is_complete(&self) -> bool {
        self.vps.is_some() && self.sps.is_some() && !self.pps.is_empty()
    }

    /// What the sequence parameter set says, if it is known and can be read.
    pub fn parse_sps(&self) -> Option<h265::Sps> {
        h265::Sps::parse(self.sps.as_ref()?).ok()
    }
}

/// What RFC 3640 needs to find the frames of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AacParams {
    /// AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1).
    pub config: Bytes,
    /// Bits of an AU header's size field: 13 in AAC-hbr.
    pub size_length: u8,
    /// Bits of the first AU header's index field: 3 in AAC-hbr.
    pub index_length: u8,
    /// Bits of the further AU headers' index field: 3 in AAC-hbr.
    pub index_delta_length: u8,
}

/// The two companding laws of G.711.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum G711Law {
    /// PCMA, payload type 8.
    A,
    /// PCMU, payload type 0.
    Mu,
}

/// How G.726 is coded. Encoders do not say it in the stream: it is known or guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct G726Params {
    /// Bits a second.
    pub rate: G726Rate,
    /// Order of the samples in a byte.
    pub packing: G726Packing,
}

/// Rates of G.726.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum G726Rate {
    /// 16 kbit/s: 2 bits a sample.
    Kbit16,
    /// 24 kbit/s: 3 bits a sample.
    Kbit24,
    /// 32 kbit/s: 4 bits a sample; the usual one.
    Kbit32,
    /// 40 kbit/s: 5 bits a sample.
    Kbit40,
}

/// Where in a byte the first sample is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum G726Packing {
    /// In the least significant bits, encoding names `G726-…` (RFC 3551).
    Rfc3551,
    /// In the most significant bits, encoding names `AAL2-G726-…` (ITU-T I.366.2).
    Aal2,
}

impl G726Params {
    /// All that there are.
    const ALL: [(Self, &'static str); 8] = {
        use G726Packing::{Aal2, Rfc3551};
        use G726Rate::{Kbit16, Kbit24, Kbit32, Kbit40};
        const fn of(rate: G726Rate, packing: G726Packing) -> G726Params {
            G726Params { rate, packing }
        }
        [
            (of(Kbit16, Rfc3551), "G726-16"),
            (of(Kbit24, Rfc3551), "G726-24"),
            (of(Kbit32, Rfc3551), "G726-32"),
            (of(Kbit40, Rfc3551), "G726-40"),
            (of(Kbit16, Aal2), "AAL2-G726-16"),
            (of(Kbit24, Aal2), "AAL2-G726-24"),
            (of(Kbit32, Aal2), "AAL2-G726-32"),
            (of(Kbit40, Aal2), "AAL2-G726-40"),
        ]
    };

    /// Of an encoding name in `a=rtpmap`, without regard to case.
    pub fn from_encoding(name: &str) -> Option<Self> {
        let named = |(_, known): &&(Self, &str)| known.eq_ignore_ascii_case(name);
        Self::ALL.iter().find(named).map(|(params, _)| *params)
    }

    /// The encoding name for `a=rtpmap`.
    pub fn encoding(self) -> &'static str {
        let mine = |(params, _): &&(Self, &'static str)| *params == self;
        Self::ALL
            .iter()
            .find(mine)
            .map_or("G726-32", |(_, name)| name)
    }
}

impl G726Rate {
    /// Bits of a sample. Eight samples are as many whole bytes.
    pub fn bits(self) -> u8 {
        match self {
            Self::Kbit16 => 2,
            Self::Kbit24 => 3,
            Self::Kbit32 => 4,
            Self::Kbit40 => 5,
        }
    }
}

impl Track {
    /// An H.264 track of the usual 90 kHz clock.
    pub fn h264(payload_type: u8, params: H264Params) -> Self {
        Self::video(payload_type, "H264", Codec::H264(params))
    }

    /// An H.265 track of the usual 90 kHz clock.
    pub fn h265(payload_type: u8, params: H265Params) -> Self {
        Self::video(payload_type, "H265", Codec::H265(params))
    }

    /// An AAC track in mode AAC-hbr.
    pub fn aac(payload_type: u8, clock_rate: u32, channels: u16, config: Bytes) -> Self {
        let codec = Codec::Aac(AacParams {
            config,
            size_length: 13,
            index_length: 3,
            index_delta_length: 3,
        });
        Self::audio(payload_type, "MPEG4-GENERIC", clock_rate, channels, codec)
    }

    /// An Opus track: 48 kHz clock and two channels, whatever is inside (RFC 7587, 7).
    pub fn opus(payload_type: u8) -> Self {
        Self::audio(payload_type, "opus", 48_000, 2, Codec::Opus)
    }

    /// A G.711 track: 8 kHz, mono, static payload type.
    pub fn g711(law: G711Law) -> Self {
        let (payload_type, name) = match law {
            G711Law::A => (8, "PCMA"),
            G711Law::Mu => (0, "PCMU"),
        };
        Self::audio(payload_type, name, 8_000, 1, Codec::G711(law))
    }

    /// A G.726 track: 8 kHz, mono.
    pub fn g726(payload_type: u8, params: G726Params) -> Self {
        Self::audio(
            payload_type,
            params.encoding(),
            8_000,
            1,
            Codec::G726(params),
        )
    }

    /// A JPEG track: 90 kHz clock, static payload type.
    pub fn jpeg() -> Self {
        Self::video(26, "JPEG", Codec::Jpeg)
    }

    /// The codec string of RFC 6381 for MSE and HLS (`avc1.…`, `hvc1.…`, `mp4a.40.2`, `opus`), when
    /// the codec is understood and its parameters are known.
    pub fn codec_string(&self) -> Option<String> {
        match &self.codec {
            Codec::H264(params) => params.parse_sps().map(|sps| sps.codec_string()),
            Codec::H265(params) => params.parse_sps().map(|sps| sps.codec_string()),
            Codec::Aac(params) => AudioSpecificConfig::parse(&params.config)
                .ok()
                .map(|config| config.codec_string()),
            Codec::Opus => Some("opus".to_owned()),
            Codec::G711(_) | Codec::G726(_) | Codec::Jpeg | Codec::Other => None,
        }
    }

    /// Width and height in pixels, for video whose parameter sets are known.
    pub fn dimensions(&self) -> Option<(u32, u32)> {
        match &self.codec {
            Codec::H264(params) => params.parse_sps().map(|sps| (sps.width, sps.height)),
            Codec::H265(params) => params.parse_sps().map(|sps| (sps.width, sps.height)),
            _ => None,
        }
    }

    /// Pictures that may precede another in decoding order but follow it in output order: 0 for
    /// everything but reordered video; 2 for video of which it is not known.
    pub fn reorder_depth(&self) -> usize {
        const UNKNOWN: u8 = 2;
        usize::from(match &self.codec {
            Codec::H264(params) => params
                .parse_sps()
                .and_then(|sps| sps.max_num_reorder_frames)
                .unwrap_or(UNKNOWN),
            Codec::H265(params) => params
                .parse_sps()
                .map_or(UNKNOWN, |sps| sps.max_num_reorder_pics),
            _ => 0,
        })
    }

    /// Time of a frame in ticks of the track's clock, where parameter sets or codec tell.
    pub fn frame_ticks(&self) -> Option<i64> {
        match &self.codec {
            Codec::H264(params) => params.parse_sps()?.frame_ticks(self.clock_rate),
            Codec::H265(params) => params.parse_sps()?.frame_ticks(self.clock_rate),
            Codec::Aac(params) => AudioSpecificConfig::parse(&params.config)
                .ok()
                .map(|config| i64::from(config.frame_length)),
            _ => None,
        }
    }

    fn video(payload_type: u8, encoding: &str, codec: Codec) -> Self {
        Self {
            kind: MediaKind::Video,
            payload_type,
            encoding: encoding.to_owned(),
            clock_rate: 90_000,
            channels: 0,
            fmtp: None,
            control: None,
            codec,
        }
    }

    fn audio(
        payload_type: u8,
        encoding: &str,
        clock_rate: u32,
        channels: u16,
        codec: Codec,
    ) -> Self {
        Self {
            kind: MediaKind::Audio,
            payload_type,
            encoding: encoding.to_owned(),
            clock_rate,
            channels,
            fmtp: None,
            control: None,
            codec,
        }
    }
}
