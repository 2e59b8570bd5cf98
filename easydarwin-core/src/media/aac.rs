//! AAC: AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1) and ADTS headers (1.A.2.2).

use bytes::Bytes;

use super::BitstreamError;
use super::bits::BitReader;

/// `samplingFrequencyIndex` (ISO/IEC 14496-3, table 1.18).
const SAMPLE_RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];
/// The index that says that the rate follows in 24 bits.
const EXPLICIT_RATE: u8 = 15;
/// Object types of spectral band replication and parametric stereo: the core coder's follows.
const SBR: u8 = 5;
const PS: u8 = 29;
const AAC_LC: u8 = 2;

/// The fields of an AudioSpecificConfig that matter outside of a decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioSpecificConfig {
    /// Audio object type: 2 is AAC-LC.
    pub object_type: u8,
    /// Sampling rate of the core coder in Hz.
    pub sample_rate: u32,
    /// Channels; 0 when a program config element tells them.
    pub channels: u8,
    /// Samples of a frame: 1024, or 960.
    pub frame_length: u32,
}

impl AudioSpecificConfig {
    /// Reads the configuration.
    ///
    /// # Errors
    /// When it ends early or names a reserved rate or channel configuration.
    pub fn parse(config: &[u8]) -> Result<Self, BitstreamError> {
        let bits = &mut BitReader::new(config);
        let object_type = parse_object_type(bits)?;
        let sample_rate = parse_rate(bits)?;
        let channels = channels(bits.small(4, "channelConfiguration")?)?;
        let core_type = if matches!(object_type, SBR | PS) {
            parse_rate(bits)?;
            parse_object_type(bits)?
        } else {
            object_type
        };
        // Only the general audio coders begin their own part with this flag.
        let general_audio = matches!(core_type, 1..=4 | 6 | 7 | 17 | 19..=23);
        let short = general_audio && bits.flag("frameLengthFlag").unwrap_or(false);
        Ok(Self {
            object_type,
            sample_rate,
            channels,
            frame_length: if short { 960 } else { 1024 },
        })
    }

    /// The shortest configuration that says the same; of SBR and PS the AAC-LC core, which
    /// decoders extend by themselves.
    pub fn to_bytes(&self) -> Bytes {
        let object_type = match self.object_type {
            SBR | PS | 0 | 31.. => AAC_LC,
            object_type => object_type,
        };
        let channels = match self.channels {
            channels @ 0..=6 => channels,
            7 => 11,
            8 => 7,
            _ => 0,
        };
        let tail = (u64::from(channels) << 3) | (u64::from(self.frame_length == 960) << 2);
        let index = SAMPLE_RATES
            .iter()
            .zip(0_u64..)
            .find_map(|(&rate, index)| (rate == self.sample_rate).then_some(index));
        let head = u64::from(object_type) << 4;
        match index {
            Some(index) => {
                let word = ((head | index) << 7) | tail;
                let [.., a, b] = word.to_be_bytes();
                Bytes::copy_from_slice(&[a, b])
            }
            None => {
                let rate = u64::from(self.sample_rate & 0xff_ffff);
                let word = ((head | u64::from(EXPLICIT_RATE)) << 31) | (rate << 7) | tail;
                let [_, _, _, bytes @ ..] = word.to_be_bytes();
                Bytes::copy_from_slice(&bytes)
            }
        }
    }

    /// The codec string of RFC 6381, for example `mp4a.40.2`.
    pub fn codec_string(&self) -> String {
        format!("mp4a.40.{}", self.object_type)
    }
}

/// A header of an ADTS frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdtsHeader {
    /// What the frame holds.
    pub config: AudioSpecificConfig,
    /// Bytes of the header: 7, or 9 with a checksum.
    pub header_len: usize,
    /// Bytes of header and payload together.
    pub frame_len: usize,
}

impl AdtsHeader {
    /// Reads the header at the start of `data`.
    ///
    /// # Errors
    /// When there is no sync word, it ends early or its fields contradict each other.
    pub fn parse(data: &[u8]) -> Result<Self, BitstreamError> {
        let bits = &mut BitReader::new(data);
        if bits.bits(12, "ADTS sync word")? != 0xfff {
            return Err(BitstreamError::WrongKind("ADTS header"));
        }
        bits.flag("ID")?;
        if bits.small(2, "layer")? != 0 {
            return Err(BitstreamError::WrongKind("ADTS header"));
        }
        let header_len = if bits.flag("protection_absent")? {
            7
        } else {
            9
        };
        let object_type = bits.small(2, "profile")? + 1;
        let sample_rate = table_rate(bits.small(4, "sampling_frequency_index")?)?;
        bits.flag("private_bit")?;
        let channels = channels(bits.small(3, "channel_configuration")?)?;
        bits.skip(4, "copyright bits")?;
        let frame_len = usize::try_from(bits.bits(13, "frame_length")?)
            .map_err(|_| BitstreamError::OutOfRange("frame_length"))?;
        bits.skip(13, "buffer fullness")?;
        if frame_len < header_len {
            return Err(BitstreamError::OutOfRange("frame_length"));
        }
        Ok(Self {
            config: AudioSpecificConfig {
                object_type,
                sample_rate,
                channels,
                frame_length: 1024,
            },
            header_len,
            frame_len,
        })
    }
}

fn parse_object_type(bits: &mut BitReader<'_>) -> Result<u8, BitstreamError> {
    match bits.small(5, "audioObjectType")? {
        31 => Ok(32 + bits.small(6, "audioObjectTypeExt")?),
        object_type => Ok(object_type),
    }
}

fn parse_rate(bits: &mut BitReader<'_>) -> Result<u32, BitstreamError> {
    match bits.small(4, "samplingFrequencyIndex")? {
        EXPLICIT_RATE => match bits.bits(24, "samplingFrequency")? {
            0 => Err(BitstreamError::OutOfRange("samplingFrequency")),
            rate => Ok(rate),
        },
        index => table_rate(index),
    }
}

fn table_rate(index: u8) -> Result<u32, BitstreamError> {
    SAMPLE_RATES
        .get(usize::from(index))
        .copied()
        .ok_or(BitstreamError::OutOfRange("samplingFrequencyIndex"))
}

fn channels(configuration: u8) -> Result<u8, BitstreamError> {
    match configuration {
        0..=6 => Ok(configuration),
        7 | 12 | 14 => Ok(8),
        11 => Ok(7),
        _ => Err(BitstreamError::OutOfRange("channelConfiguration")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn configurations_of_real_encoders() {
        // ffmpeg's aac at 48 kHz stereo, faac at 44.1 kHz mono, fdk HE-AAC at 48 kHz (24 kHz core).
        for (config, object_type, rate, channels) in [
            (&[0x11, 0x90][..], 2, 48_000, 2),
            (&[0x12, 0x08], 2, 44_100, 1),
            (&[0x2b, 0x11, 0x88, 0x00], 5, 24_000, 2),
        ] {
            let parsed = AudioSpecificConfig::parse(config).unwrap();
            assert_eq!(parsed.object_type, object_type);
            assert_eq!(parsed.sample_rate, rate);
            assert_eq!(parsed.channels, channels);
            assert_eq!(parsed.frame_length, 1024);
        }
        let parsed = AudioSpecificConfig::parse(&[0x11, 0x90]).unwrap();
        assert_eq!(parsed.to_bytes().as_ref(), [0x11, 0x90]);
        assert_eq!(parsed.codec_string(), "mp4a.40.2");
    }

    #[test]
    fn an_odd_rate_is_written_in_full() {
        let config = AudioSpecificConfig {
            object_type: 2,
            sample_rate: 50_000,
            channels: 1,
            frame_length: 960,
        };
        assert_eq!(AudioSpecificConfig::parse(&config.to_bytes()), Ok(config));
    }

    #[test]
    fn all_channel_configurations_keep_their_number() {
        for channels in 0..=8 {
            let config = AudioSpecificConfig {
                object_type: 2,
                sample_rate: 48_000,
                channels,
                frame_length: 1024,
            };
            assert_eq!(AudioSpecificConfig::parse(&config.to_bytes()), Ok(config));
        }
    }

    #[test]
    fn an_adts_header() {
        // AAC-LC, 48 kHz, stereo, 371 bytes, as ffmpeg writes it.
        let header = AdtsHeader::parse(&[0xff, 0xf1, 0x4c, 0x80, 0x2e, 0x7f, 0xfc]).unwrap();
        assert_eq!((header.header_len, header.frame_len), (7, 371));
        assert_eq!(header.config.sample_rate, 48_000);
        assert_eq!(header.config.channels, 2);
        assert_eq!(header.config.to_bytes().as_ref(), [0x11, 0x90]);
        for broken in [
            &[0xff_u8, 0xf1, 0x4c][..],
            &[0xff, 0xf7, 0x4c, 0x80, 0x2e, 0x7f, 0xfc],
            &[0xff, 0xf1, 0x4c, 0x80, 0x00, 0x3f, 0xfc],
            &[0x11, 0x90],
        ] {
            assert!(AdtsHeader::parse(broken).is_err(), "{broken:x?}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..20)) {
            if let Ok(config) = AudioSpecificConfig::parse(&bytes) {
                let again = AudioSpecificConfig::parse(&config.to_bytes()).unwrap();
                prop_assert_eq!(again.sample_rate, config.sample_rate);
            }
            let _ = AdtsHeader::parse(&bytes);
        }
    }
}
