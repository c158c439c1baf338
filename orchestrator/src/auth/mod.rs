//! Who asks, and what he may do: bearer tokens of our own, and those of an OpenID Connect issuer.

pub mod oidc;
pub mod tokens;

use crate::envelope::Failure;
use axum::http::{HeaderValue, StatusCode};
use oidc::Oidc;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokens::Tokens;

/// What somebody may do.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look.
    Read,
    /// Do everything.
    Operate,
}

/// Who asks.
#[derive(Debug, Clone)]
pub struct Who {
    /// The name of his token, or what his issuer calls him.
    pub name: Arc<str>,
    /// What he may do.
    pub role: Role,
}

/// How it is found out.
pub struct Auth {
    tokens: Tokens,
    oidc: Option<Oidc>,
    /// Somebody once wanted it. It does not end because a file has gone.
    required: AtomicBool,
}

impl Auth {
    /// By these tokens, and this issuer's.
    pub fn new(tokens: Tokens, oidc: Option<Oidc>) -> Auth {
        let required = AtomicBool::new(oidc.is_some() || tokens.exist());
        Auth {
            tokens,
            oidc,
            required,
        }
    }

    /// Does one have to say who one is? As soon as a token has been made, or an issuer is named.
    pub fn is_required(&self) -> bool {
        if self.required.load(Ordering::Relaxed) {
            return true;
        }
        let now = self.tokens.exist();
        self.required.fetch_or(now, Ordering::Relaxed);
        now
    }

    /// Who sends this `Authorization` header.
    ///
    /// # Errors
    /// 401 if it is missing or says nothing valid.
    pub async fn who(&self, header: Option<&HeaderValue>) -> Result<Who, Failure> {
        if !self.is_required() {
            return Ok(Who {
                name: "anybody".into(),
                role: Role::Operate,
            });
        }
        let refuse = |why: &str| Failure::new(StatusCode::UNAUTHORIZED, why.to_owned());
        let header = header.ok_or_else(|| {
            refuse("this needs a token")
                .hint("send `Authorization: Bearer TOKEN`; `minirun-api token create` makes one")
        })?;
        let text = header.to_str().unwrap_or_default();
        let (scheme, token) = text.split_once(' ').unwrap_or_default();
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(refuse("the Authorization header is no bearer token"));
        }
        let token = token.trim();
        if token.starts_with(tokens::PREFIX) || self.oidc.is_none() {
            let known = self.tokens.who(token);
            return known.ok_or_else(|| refuse("this token is not known, or has expired"));
        }
        match &self.oidc {
            Some(oidc) => oidc.who(token).await,
            None => Err(refuse("this token is not known")),
        }
    }
}
