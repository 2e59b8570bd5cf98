use std::sync::Arc;

use easydarwin_core::protocol::node::Revoked;
use easydarwin_core::protocol::{check_serial, login};
use easydarwin_core::registry::{
    AccountStore, Author, Credential, DeviceChange, DevicePatch, DeviceStore, Event, EventLog,
    NodeDirectory, Presence, Secret,
};

use crate::error::CmsError;
use crate::nodes;
use crate::state::State;

/// A running CMS, for whoever embeds it.
#[derive(Debug, Clone)]
pub struct CmsHandle {
    pub(crate) state: Arc<State>,
}

impl CmsHandle {
    /// Lets a device in that proves this key (ED1), besides what it could prove before.
    ///
    /// # Errors
    /// [`CmsError::Serial`], [`CmsError::Store`].
    pub async fn provision_key(&self, serial: &str, key: &str) -> Result<(), CmsError> {
        let verifier = login::DeviceKey::new(key, serial).verifier().clone();
        self.provision(serial, "key", Secret::Key(verifier)).await
    }

    /// Lets an old device in that brings this token.
    ///
    /// # Errors
    /// [`CmsError::Serial`], [`CmsError::Store`].
    pub async fn provision_token(&self, serial: &str, token: &str) -> Result<(), CmsError> {
        let digest = login::token_digest(&self.state.secrets.pepper, serial, token);
        self.provision(serial, "token", Secret::Token(digest)).await
    }

    async fn provision(&self, serial: &str, id: &str, secret: Secret) -> Result<(), CmsError> {
        check_serial(serial).map_err(|_| CmsError::Serial(serial.to_owned()))?;
        let by = Author::system(self.state.now());
        let credential = Credential::new(id, secret, by.at);
        let changes = vec![
            DeviceChange::Patch(serial.to_owned(), DevicePatch::default()),
            DeviceChange::PutCredential(serial.to_owned(), credential),
        ];
        self.state.devices.change(changes, &by).await?;
        self.state.changed.notify_one();
        Ok(())
    }

    /// Takes back what was given until now to a subject, for a device or for a stream: tokens of
    /// before are refused, here and at the media nodes, and the sessions that began with them
    /// end. A device's connection is closed, too.
    pub fn revoke(&self, what: Revoked) {
        nodes::revoke(&self.state, [what]);
    }

    /// The key that clients bring.
    pub fn api_key(&self) -> &str {
        &self.state.secrets.api_key
    }

    /// The key that media nodes prove.
    pub fn join_key(&self) -> &str {
        &self.state.secrets.join_key
    }

    /// People, keys, groups and the audit.
    pub fn accounts(&self) -> Arc<dyn AccountStore> {
        self.state.accounts.clone()
    }

    /// Who is there.
    pub fn presence(&self) -> Arc<dyn Presence> {
        self.state.presence.clone()
    }

    /// Devices and their secrets.
    pub fn devices(&self) -> Arc<dyn DeviceStore> {
        self.state.devices.clone()
    }

    /// Tells of something of the embedder's own, in one order with everything else. Never waits;
    /// when too much comes at once, it is counted and lost.
    pub fn emit(&self, event: Event) {
        self.state.events.emit(event);
    }

    /// What happened.
    pub fn events(&self) -> Arc<dyn EventLog> {
        self.state.events.log().clone()
    }

    /// Media nodes and their streams.
    pub fn nodes(&self) -> Arc<dyn NodeDirectory> {
        self.state.directory.clone()
    }
}
