//! A filter between publishers that come by RTSP and the streams that players see.

use std::time::{Duration, Instant};

use easydarwin_core::client::{ClientOptions, ClientTransport, Player, Publisher};
use easydarwin_core::media::{
    AccessUnit, Codec, G711Law, H264Params, MediaKind, SessionDescription, Track,
};
use easydarwin_core::registry::{AllowAll, Principal, StreamPath};
use easydarwin_core::relay::{FilterTracks, FilterUnit, MediaFilter, OwnData, Verdict};
use easydarwin_core::server::MediaServer;

use crate::support::{Server, path, within};

const PICTURE: Duration = Duration::from_millis(20);

/// Leaves the first track, sound, out and adds data to each picture.
#[derive(Debug)]
struct Silent {
    own: usize,
}

impl MediaFilter for Silent {
    fn describe(&mut self, tracks: &mut FilterTracks) {
        tracks.leave_out(0);
        self.own = tracks.add(Track {
            kind: MediaKind::Application,
            payload_type: 98,
            encoding: "x-notes".to_owned(),
            clock_rate: 90_000,
            channels: 0,
            fmtp: None,
            control: None,
            codec: Codec::Other,
        });
    }

    fn unit(&mut self, unit: &FilterUnit<'_>, own: &mut OwnData) -> Verdict {
        assert_eq!(unit.track, 1);
        own.push(self.own, format!("at {}", unit.packet.timestamp()));
        Verdict::Pass
    }
}

fn filters(path: &StreamPath, _: &Principal) -> Option<Box<dyn MediaFilter>> {
    (path.as_str() == "cam/1").then(|| Box::new(Silent { own: 0 }) as Box<dyn MediaFilter>)
}

fn unit(track: usize, picture: i64) -> AccessUnit {
    let key = picture % 10 == 0;
    let (pts, data) = match track {
        0 => (picture * 160, vec![0xd5; 160]),
        _ => {
            let mut slice = vec![0x5a; 3_000];
            // A slice of type I or P that begins a picture.
            (slice[0], slice[1]) = (if key { 0x65 } else { 0x41 }, 0x88);
            (picture * 1_800, slice)
        }
    };
    AccessUnit {
        track,
        pts,
        arrival: Instant::now(),
        ntp: None,
        key,
        discontinuity: false,
        lossy: false,
        data: vec![data.into()],
    }
}

async fn film(mut publisher: Publisher, pictures: i64) -> Publisher {
    for picture in 0..pictures {
        publisher.send(&unit(0, picture)).await.unwrap();
        publisher.send(&unit(1, picture)).await.unwrap();
        tokio::time::sleep(PICTURE).await;
    }
    publisher
}

#[tokio::test]
async fn announced_streams_go_through_the_filter_of_their_path() {
    for transport in [ClientTransport::Tcp, ClientTransport::Udp] {
        let builder = MediaServer::builder().authorizer(AllowAll).filter(filters);
        let server = Server::of(builder).await;
        let params = H264Params {
            sps: Some(vec![0x67, 0x42, 0xc0, 0x0a, 0xa6, 0x11, 0x11, 0xe8].into()),
            pps: vec![vec![0x68, 0xce, 0x38, 0x80].into()],
        };
        let description = SessionDescription {
            tracks: vec![Track::g711(G711Law::A), Track::h264(96, params)],
            ..SessionDescription::default()
        };
        let mut options = ClientOptions::default();
        options.transport = transport;
        let mut publishers = Vec::new();
        for url in ["cam/1", "cam/2"] {
            let url = server.url(url);
            let publisher = Publisher::connect(&url, description.clone(), options.clone());
            publishers.push(tokio::spawn(film(within(publisher).await.unwrap(), 50)));
        }
        let (first, second) = (path("cam/1"), path("cam/2"));
        let tracks = |path| server.hub().get(path).unwrap().description().tracks.clone();
        assert_eq!(tracks(&second)[0].kind, MediaKind::Audio);
        let filtered = tracks(&first);
        assert_eq!(filtered.len(), 2);
        assert_eq!(filtered[0].kind, MediaKind::Video);
        assert_eq!(&*filtered[1].encoding, "x-notes");

        let url = server.url("cam/1");
        let player = Player::connect(&url, ClientOptions::default());
        let mut player = within(player).await.unwrap();
        assert_eq!(player.description().tracks.len(), 2);
        let (mut pictures, mut notes) = (0, 0);
        while pictures < 20 || notes < 20 {
            let unit = within(player.next_unit()).await.unwrap().unwrap();
            assert!(!unit.lossy);
            if unit.track == 0 {
                pictures += 1;
            } else {
                notes += 1;
                assert!(unit.data[0].starts_with(b"at "));
            }
        }
        let info = server.hub().get(&first).unwrap().info();
        assert_eq!(info.invalid, 0);
        drop(player);
        for publisher in publishers {
            within(publisher).await.unwrap();
        }
        server.stop().await;
    }
}
