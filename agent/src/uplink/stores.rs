//! HTTP clients for object stores: no token of ours, no redirects, and the authorities that the ticket names.

use std::sync::{Mutex, PoisonError};

use reqwest::{Certificate, Client, redirect::Policy};

use super::http::CONNECT;

/// One at a time: there is one store, and its authorities change rarely.
#[derive(Debug, Default)]
pub(super) struct Stores {
    last: Mutex<Option<(Option<String>, Client)>>,
}

impl Stores {
    /// `ca_pem`: beside the system's.
    pub(super) fn client(&self, ca_pem: Option<&str>) -> Result<Client, reqwest::Error> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((pem, client)) = &*last
            && pem.as_deref() == ca_pem
        {
            return Ok(client.clone());
        }
        // A target is signed for one host: a redirection would be refused there anyway.
        let mut builder = Client::builder().connect_timeout(CONNECT).redirect(Policy::none());
        if let Some(pem) = ca_pem {
            builder = builder.tls_certs_merge(Certificate::from_pem_bundle(pem.as_bytes())?);
        }
        let client = builder.build()?;
        *last = Some((ca_pem.map(str::to_owned), client.clone()));
        Ok(client)
    }
}
