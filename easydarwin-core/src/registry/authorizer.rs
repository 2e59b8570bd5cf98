use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;

use super::{
    Accepts, AccessRequest, Action, Authorizer, Cidr, CmsClock, Denied, GrantTable, Permit,
    Principal, TokenAction, TokenVerifier,
};

/// The authorizer of a media node that belongs to a CMS: tokens that the CMS signed, grants that
/// it gave, and networks from which everybody may play.
#[derive(Clone)]
pub struct TokenAuthorizer {
    verifier: Arc<TokenVerifier>,
    grants: Arc<GrantTable>,
    clock: Arc<CmsClock>,
    play_from: Vec<Cidr>,
    otherwise: Option<Arc<dyn Authorizer>>,
}

impl std::fmt::Debug for TokenAuthorizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenAuthorizer")
            .field("play_from", &self.play_from)
            .field("otherwise", &self.otherwise.is_some())
            .finish_non_exhaustive()
    }
}

impl TokenAuthorizer {
    /// An authorizer over these keys and grants, which whoever talks to the CMS keeps up to date.
    pub fn new(
        verifier: Arc<TokenVerifier>,
        grants: Arc<GrantTable>,
        clock: Arc<CmsClock>,
    ) -> Self {
        Self {
            verifier,
            grants,
            clock,
            play_from: Vec::new(),
            otherwise: None,
        }
    }

    /// Everybody in these networks may play without a token.
    #[must_use]
    pub fn play_from(mut self, networks: impl IntoIterator<Item = Cidr>) -> Self {
        self.play_from.extend(networks);
        self
    }

    /// Who is asked when there is neither token nor grant.
    #[must_use]
    pub fn otherwise(mut self, authorizer: Arc<dyn Authorizer>) -> Self {
        self.otherwise = Some(authorizer);
        self
    }

    fn by_token(&self, request: &AccessRequest, token: &str) -> Result<Principal, Denied> {
        let claims = self
            .verifier
            .verify(token, self.clock.now())
            .map_err(|_| Denied::Unauthorized)?;
        let wanted = match request.action {
            Action::Play => TokenAction::Play,
            Action::Publish => TokenAction::Publish,
        };
        if claims.action != wanted || claims.path != request.path {
            return Err(Denied::Forbidden);
        }
        match (request.action, claims.generation) {
            (Action::Play, _) => Ok(Principal::Named(claims.sub.into())),
            (Action::Publish, Some(generation))
                if self.grants.is_current(&request.path, generation) =>
            {
                Ok(Principal::Device {
                    serial: claims.sub.into(),
                    generation,
                })
            }
            (Action::Publish, _) => Err(Denied::Forbidden),
        }
    }

    fn by_address(&self, request: &AccessRequest) -> Option<Principal> {
        let ip: IpAddr = request.peer.ip();
        match request.action {
            Action::Play => self
                .play_from
                .iter()
                .any(|network| network.contains(ip))
                .then(|| Principal::Named("local".into())),
            Action::Publish => {
                let generation = self.grants.take(&request.path, ip, self.clock.now())?;
                let serial = request
                    .path
                    .as_device()
                    .map_or(request.path.as_str(), |d| d.0);
                Some(Principal::Device {
                    serial: serial.into(),
                    generation,
                })
            }
        }
    }
}

#[async_trait]
impl Authorizer for TokenAuthorizer {
    async fn authorize(&self, request: &AccessRequest) -> Result<Principal, Denied> {
        let by_token = request
            .credentials
            .token()
            .map(|token| self.by_token(request, token));
        if let Some(Ok(principal)) = by_token {
            return Ok(principal);
        }
        if let Some(principal) = self.by_address(request) {
            return Ok(principal);
        }
        let by_other = match &self.otherwise {
            Some(authorizer) => authorizer.authorize(request).await,
            None => Err(Denied::Unauthorized),
        };
        match (by_other, by_token) {
            // Whoever sent a password is told about that one.
            (Err(Denied::Unauthorized), Some(Err(denied)))
                if request.credentials.authorization.is_none() =>
            {
                Err(denied)
            }
            (by_other, _) => by_other,
        }
    }

    /// Also for those who needed no token: when a device's rights are taken back, its stream ends
    /// however its publisher came in.
    fn permit(&self, request: &AccessRequest, principal: &Principal) -> Permit {
        let name = match principal {
            Principal::Device { serial, .. } => Some(serial),
            Principal::Named(name) => Some(name),
            Principal::Anonymous => None,
        };
        let token = request.credentials.token();
        // It may have been taken back at this very moment: the session then learns it at once.
        let claims = token.and_then(|token| self.verifier.genuine(token).ok());
        let (subject, issued) = match (claims, principal) {
            (Some(claims), _) if name.is_some_and(|name| **name == claims.sub) => {
                (claims.sub, claims.iat)
            }
            (_, Principal::Device { serial, .. }) => {
                (serial.to_string(), self.clock.now().seconds())
            }
            // The CMS does not know the names of those whom it gave nothing.
            _ => (String::new(), self.clock.now().seconds()),
        };
        let list = self.verifier.revocations().clone();
        Permit::revocable(list, subject, request.path.clone(), issued)
    }

    fn accepts(&self) -> Accepts {
        let others = self.otherwise.as_ref().map(|other| other.accepts());
        others.unwrap_or(Accepts::TOKENS).or(Accepts::TOKENS)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::registry::{Claims, Credentials, StreamPath, TokenSigner};

    struct Bench {
        signer: TokenSigner,
        grants: Arc<GrantTable>,
        clock: Arc<CmsClock>,
        authorizer: TokenAuthorizer,
    }

    fn bench() -> Bench {
        let signer = TokenSigner::from_seed([1; 32]);
        let verifier = Arc::new(TokenVerifier::new());
        verifier
            .set_keys([signer.public_key().key.as_str()])
            .unwrap();
        let (grants, clock) = (Arc::new(GrantTable::new()), Arc::new(CmsClock::new()));
        let authorizer = TokenAuthorizer::new(verifier, grants.clone(), clock.clone());
        Bench {
            signer,
            grants,
            clock,
            authorizer,
        }
    }

    fn request(action: Action, path: &str, token: Option<String>) -> AccessRequest {
        let credentials = Credentials {
            bearer: token.map(Into::into),
            ..Credentials::default()
        };
        let path = StreamPath::parse(path).unwrap();
        AccessRequest::new(action, path, "127.0.0.1:5".parse().unwrap(), credentials)
    }

    #[tokio::test]
    async fn a_token_opens_its_own_stream_for_its_own_action() {
        let b = bench();
        let path = StreamPath::parse("cam/1").unwrap();
        let claims = Claims::new(path, TokenAction::Play, "client", b.clock.now(), 60);
        let token = Some(b.signer.sign(&claims));
        for (action, path, result) in [
            (Action::Play, "cam/1", Ok(Principal::Named("client".into()))),
            (Action::Play, "cam/2", Err(Denied::Forbidden)),
            (Action::Publish, "cam/1", Err(Denied::Forbidden)),
        ] {
            let asked = request(action, path, token.clone());
            assert_eq!(
                b.authorizer.authorize(&asked).await,
                result,
                "{action:?} {path}"
            );
        }
        let none = request(Action::Play, "cam/1", None);
        assert_eq!(
            b.authorizer.authorize(&none).await,
            Err(Denied::Unauthorized)
        );
        let trusting = b.authorizer.clone().play_from(Cidr::LOOPBACK);
        assert!(trusting.authorize(&none).await.is_ok());
    }

    #[tokio::test]
    async fn a_publisher_behind_the_last_grant_is_turned_away() {
        let b = bench();
        let path = StreamPath::parse("cam/1").unwrap();
        let mut claims = Claims::new(path.clone(), TokenAction::Publish, "cam", b.clock.now(), 60);
        claims.generation = Some(8);
        let asked = request(Action::Publish, "cam/1", Some(b.signer.sign(&claims)));
        let device = Principal::Device {
            serial: "cam".into(),
            generation: 8,
        };
        assert_eq!(b.authorizer.authorize(&asked).await, Ok(device));
        b.grants
            .grant(path, 9, None, Duration::from_secs(30), b.clock.now());
        assert_eq!(b.authorizer.authorize(&asked).await, Err(Denied::Forbidden));
    }

    #[tokio::test]
    async fn an_old_camera_is_let_in_by_its_grant_once() {
        let b = bench();
        let path = StreamPath::parse("cam/1").unwrap();
        let ip = Some([127, 0, 0, 1].into());
        b.grants
            .grant(path, 9, ip, Duration::from_secs(30), b.clock.now());
        let asked = request(Action::Publish, "cam/1", None);
        let device = Principal::Device {
            serial: "cam".into(),
            generation: 9,
        };
        assert_eq!(b.authorizer.authorize(&asked).await, Ok(device));
        assert_eq!(
            b.authorizer.authorize(&asked).await,
            Err(Denied::Unauthorized)
        );
    }
}
