//! A media server inside a program of one's own: its rights, its streams, its events.
//!
//!     cargo run --release --bin server
//!     ffmpeg -re -i film.mp4 -c copy -f rtsp 'rtsp://127.0.0.1:10554/studio/1?token=let-me-publish'
//!     ffplay rtsp://127.0.0.1:10554/studio/1
//!     http://127.0.0.1:10080/studio/1/                  in a browser

use std::error::Error;
use std::sync::Arc;

use async_trait::async_trait;
use clap::Parser;
use easydarwin_core::cli::{log_to_stderr, shutdown_signal};
use easydarwin_core::registry::{AccessRequest, Action, Authorizer, Denied, Principal};
use easydarwin_core::server::{MediaServer, ServerEvent};

/// An RTSP and HTTP server with rights of its own
#[derive(Debug, Parser)]
struct Args {
    /// Address for RTSP
    #[arg(long, default_value = "127.0.0.1:10554")]
    rtsp: std::net::SocketAddr,
    /// Address for HLS, WebSocket and the player page
    #[arg(long, default_value = "127.0.0.1:10080")]
    http: std::net::SocketAddr,
    /// What publishers have to know
    #[arg(long, default_value = "let-me-publish")]
    password: String,
}

/// Everybody may play; who knows the password may publish.
#[derive(Debug)]
struct House {
    password: String,
}

#[async_trait]
impl Authorizer for House {
    // Asked once per session, so it may well ask a database.
    async fn authorize(&self, request: &AccessRequest) -> Result<Principal, Denied> {
        match request.action {
            Action::Play => Ok(Principal::Anonymous),
            Action::Publish if request.credentials.token() == Some(&self.password) => {
                // The principal decides who may take a running stream over: only the same.
                Ok(Principal::Named(Arc::from("studio")))
            }
            _ => Err(Denied::Unauthorized),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    log_to_stderr("info")?;
    let server = MediaServer::builder()
        .rtsp(args.rtsp)
        .http(args.http)
        .authorizer(House {
            password: args.password,
        })
        .build()
        .await?;

    // Events tell the application what happens: here it only says so.
    let mut events = server.handle().events();
    tokio::spawn(async move {
        while let Ok(event) = events.recv().await {
            match event {
                ServerEvent::Stream(change) => println!("{}: {:?}", change.path, change.event),
                other => println!("{other:?}"),
            }
        }
    });

    println!("ready: rtsp://{}/ and http://{}/", args.rtsp, args.http);
    server.run(shutdown_signal()?).await?;
    Ok(())
}
