//! The yardstick: a server that reads each keep-alive and writes an answer of the same size as the
//! CMS's, and does nothing else. One task for each connection, on the runtime that the CMS uses.

use std::io;
use std::net::SocketAddr;

use easydarwin_core::protocol::{ErrorNum, RegisterAck};
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// As the CMS's.
const BACKLOG: i32 = 4096;

/// Longest keep-alive: they come in one piece.
const KEEP_ALIVE: usize = 2048;

/// Serves until the process is killed.
pub fn serve(listen: SocketAddr, answer: usize) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let socket = Socket::new(Domain::for_address(listen), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&listen.into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from_std(socket.into())?;
        let answer: &'static [u8] = Vec::leak(padded(answer));
        println!("null server ready");
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(connection(stream, answer));
        }
    })
}

async fn connection(mut stream: TcpStream, answer: &'static [u8]) {
    let mut buffer = [0; KEEP_ALIVE];
    while let Ok(1..) = stream.read(&mut buffer).await {
        if stream.write_all(answer).await.is_err() {
            return;
        }
    }
}

/// A register's answer of this length.
fn padded(length: usize) -> Vec<u8> {
    let ack = RegisterAck::new("0", ErrorNum::OK).to_envelope("1");
    let short = ack.to_response("").len();
    ack.to_response(&"x".repeat(length.saturating_sub(short)))
        .to_vec()
}
