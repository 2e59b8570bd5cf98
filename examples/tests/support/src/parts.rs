//! CMS, media server and camera as three processes that meet only through proxies that record
//! what they say.

use std::net::SocketAddr;

use serde_json::Value;

use crate::api::easy;
use crate::process::{Process, Workdir, free_port};
use crate::proxy::Proxy;

/// The camera's serial in the tests.
pub const SERIAL: &str = "001001000099";

/// The key that the CMS gave this serial: 256 bits.
const KEY: &str = "ETglwoWyGNs42fFFsPNQk1geK5INXqwU6UZTNPzTxCo";

/// The key with which media servers join.
const JOIN_KEY: &str = "mVR2JcQhkjaFOvVeSOcvw1IeSev8pHkBQtFy2M9FHBg";

/// Where the parts listen, and the proxies between them.
#[derive(Debug)]
pub struct Parts {
    workdir: Workdir,
    /// The CMS itself, for clients.
    pub cms: SocketAddr,
    /// The media server's RTSP and HTTP, for players that shall not be recorded.
    pub rtsp: SocketAddr,
    /// Likewise.
    pub http: SocketAddr,
    /// Between camera and CMS.
    pub device_proxy: Proxy,
    /// Between media server and CMS.
    pub node_proxy: Proxy,
    /// Between everybody who gets the media server's address from the CMS and its RTSP port.
    pub rtsp_proxy: Proxy,
    /// Seconds without a viewer after which a stream is idle.
    idle: u64,
    starts: usize,
}

impl Parts {
    /// Chooses ports and starts the proxies, none of the three.
    pub fn new(workdir: Workdir, idle: u64) -> Self {
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let (cms, rtsp, http) = (local(free_port()), local(free_port()), local(free_port()));
        // The media server announces 127.0.0.2, where the same ports belong to proxies: so its
        // addresses need no rewriting on the way.
        let beside = |port| SocketAddr::from(([127, 0, 0, 2], port));
        let device_proxy = Proxy::start(local(0), cms);
        let node_proxy = Proxy::start(local(0), cms);
        let rtsp_proxy = Proxy::start(beside(rtsp.port()), rtsp);
        Proxy::start(beside(http.port()), http);
        Self {
            workdir,
            cms,
            rtsp,
            http,
            device_proxy,
            node_proxy,
            rtsp_proxy,
            idle,
            starts: 0,
        }
    }

    /// The CMS, ready.
    pub fn start_cms(&mut self) -> Process {
        let args = [
            "--listen".to_owned(),
            self.cms.to_string(),
            "--join-key".to_owned(),
            JOIN_KEY.to_owned(),
            "--device".to_owned(),
            format!("{SERIAL}={KEY}"),
            "--legacy-clients".to_owned(),
            "127.0.0.0/8".to_owned(),
        ];
        let name = self.name("cms");
        Process::spawn_ready(&self.workdir, &name, "easydarwin-cms", args)
    }

    /// The media server, ready for players and publishers; the CMS need not be there.
    pub fn start_server(&mut self) -> Process {
        let args = [
            "--rtsp".to_owned(),
            self.rtsp.to_string(),
            "--http".to_owned(),
            self.http.to_string(),
            "--advertise".to_owned(),
            "127.0.0.2".to_owned(),
            "--cms".to_owned(),
            self.node_proxy.address().to_string(),
            "--join-key".to_owned(),
            JOIN_KEY.to_owned(),
            "--node-id".to_owned(),
            "node-1".to_owned(),
            "--idle".to_owned(),
            self.idle.to_string(),
        ];
        let name = self.name("easydarwin");
        Process::spawn_ready(&self.workdir, &name, "easydarwin", args)
    }

    /// The camera, started; the CMS need not be there.
    pub fn start_camera(&mut self, source: &str) -> Process {
        let args = [
            "--cms".to_owned(),
            self.device_proxy.address().to_string(),
            "--serial".to_owned(),
            SERIAL.to_owned(),
            "--secret".to_owned(),
            KEY.to_owned(),
            "--source".to_owned(),
            source.to_owned(),
        ];
        let name = self.name("camera");
        Process::spawn_ours(&self.workdir, &name, "easydarwin-camera", args)
    }

    /// An example that is a camera, ready, which means registered.
    pub fn start_example(&mut self, program: &str) -> Process {
        let cms = self.device_proxy.address().to_string();
        let args = ["--cms", &cms, "--serial", SERIAL, "--key", KEY];
        let name = self.name(program);
        Process::spawn_ready(&self.workdir, &name, program, args)
    }

    /// Asks the CMS: ErrorNum and Body of `/api/v1/<request>`.
    ///
    /// # Errors
    /// When the CMS does not answer.
    pub fn ask(&self, request: &str) -> Result<(String, Value), String> {
        easy(&format!("http://{}/api/v1/{request}", self.cms))
    }

    /// Asks for the stream to be started.
    ///
    /// # Errors
    /// Any answer but 200.
    pub fn start_stream(&self) -> Result<Value, String> {
        let (number, body) = self.ask(&format!("startdevicestream?device={SERIAL}&channel=1"))?;
        if number == "200" {
            Ok(body)
        } else {
            Err(format!("ErrorNum {number}: {body}"))
        }
    }

    /// Asks for the URL of the stream.
    ///
    /// # Errors
    /// Any answer but one with a URL.
    pub fn url(&self, protocol: &str) -> Result<String, String> {
        let request = format!("getdevicestream?device={SERIAL}&channel=1&protocol={protocol}");
        let (number, body) = self.ask(&request)?;
        match body["URL"].as_str() {
            Some(url) if number == "200" => Ok(url.to_owned()),
            _ => Err(format!("ErrorNum {number}: {body}")),
        }
    }

    /// Whether the CMS lists the camera.
    ///
    /// # Errors
    /// When it does not.
    pub fn listed(&self) -> Result<Value, String> {
        let (_, body) = self.ask("getdevicelist")?;
        let devices = body["Devices"].as_array().cloned().unwrap_or_default();
        devices
            .into_iter()
            .find(|device| device["Serial"] == SERIAL)
            .ok_or_else(|| format!("not in the list: {body}"))
    }

    /// The test's folder.
    pub fn workdir(&self) -> &Workdir {
        &self.workdir
    }

    /// Logs of a program that is started again get a name of their own.
    fn name(&mut self, program: &str) -> String {
        self.starts += 1;
        format!("{}-{program}", self.starts)
    }
}
