//! Our own client against our server.

use easydarwin_core::client::{ClientError, ClientOptions, Player, Publisher};
use easydarwin_core::media::{G711Law, SessionDescription, Track};
use easydarwin_core::rtsp::auth::{Algorithm, AuthConfig};
use easydarwin_core::rtsp::{Login, LoginError, Status};

use crate::support::{Server, within};
use crate::with_users;

fn options(user: &str, password: &str) -> ClientOptions {
    let mut options = ClientOptions::default();
    options.login = Login::Password {
        user: user.to_owned(),
        password: password.to_owned(),
    };
    options
}

fn description() -> SessionDescription {
    SessionDescription {
        tracks: vec![Track::g711(G711Law::A)],
        ..SessionDescription::default()
    }
}

async fn log_in(server: &Server) {
    let url = server.url("hall/1");
    let anna = || options("anna", "p@ss:w");
    let publisher = within(Publisher::connect(&url, description(), anna()))
        .await
        .unwrap();
    let _player = within(Player::connect(&url, options("viewer", "look")))
        .await
        .unwrap();
    // The password as it stands in a URL.
    let with_login = url.replace("rtsp://", "rtsp://anna:p%40ss%3Aw@");
    let player = within(Player::connect(&with_login, ClientOptions::default())).await;
    player.unwrap();
    within(publisher.close()).await.unwrap();
}

#[tokio::test]
async fn every_form_of_digest_lets_in() {
    for (digest, qop) in [
        (vec![Algorithm::Md5], false),
        (vec![Algorithm::Md5], true),
        (vec![Algorithm::Sha256], true),
        (vec![Algorithm::Md5, Algorithm::Sha256], false),
    ] {
        let mut config = AuthConfig::default();
        config.digest = digest;
        config.md5_with_qop = qop;
        let server = Server::of(with_users().auth(config)).await;
        log_in(&server).await;
        server.stop().await;
    }
}

#[tokio::test]
async fn who_is_refused_is_told_why() {
    let server = Server::of(with_users()).await;
    let url = server.url("hall/1");
    let play = |options| Player::connect(&url, options);
    for (options, expected) in [
        (options("anna", "wrong"), LoginError::Password),
        (options("nobody", "p@ss:w"), LoginError::Password),
        (ClientOptions::default(), LoginError::Missing),
    ] {
        let error = within(play(options)).await.unwrap_err();
        assert_eq!(error.status(), Some(Status::UNAUTHORIZED));
        let ClientError::Login { error, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(error, expected);
    }
    let mut bearer = ClientOptions::default();
    bearer.login = Login::Bearer("no".to_owned());
    let error = within(play(bearer)).await.unwrap_err();
    assert!(error.to_string().contains("does not accept this token"));
    // Known, but without the right.
    let viewer = options("viewer", "look");
    let error = within(Publisher::connect(&url, description(), viewer)).await;
    assert_eq!(error.unwrap_err().status(), Some(Status::FORBIDDEN));
    let elsewhere = server.url("yard/1");
    let error = within(Player::connect(&elsewhere, options("anna", "p@ss:w"))).await;
    assert_eq!(error.unwrap_err().status(), Some(Status::FORBIDDEN));
    server.stop().await;
}
