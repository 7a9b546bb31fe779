//! TLS to PostgreSQL: whose certificate is believed, by `sslmode`.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use jobmeter_coordinator::store::{Address, Place, Store};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::engines::Bed;
use crate::postgres::Server;

/// A CA, and with it a certificate for `localhost`; the CA of somebody else beside them.
fn certificates(directory: &Path) -> Vec<String> {
    let ca = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        std::fs::write(directory.join(name), params.self_signed(&key).unwrap().pem()).unwrap();
        (params, key)
    };
    ca("other.pem");
    let (params, key) = ca("ca.pem");
    let server = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = certificate.signed_by(&server, &Issuer::from_params(&params, &key)).unwrap();
    std::fs::write(directory.join("server.pem"), certificate.pem()).unwrap();
    let file = directory.join("server.key");
    std::fs::write(&file, server.serialize_pem()).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    if nix::unistd::Uid::effective().is_root() {
        let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
        nix::unistd::chown(&file, Some(nobody.uid), Some(nobody.gid)).unwrap();
    }
    let path = |name: &str| directory.join(name).display().to_string();
    vec!["ssl=on".to_owned(), format!("ssl_cert_file={}", path("server.pem")), format!("ssl_key_file={}", path("server.key"))]
}

#[tokio::test]
async fn a_server_is_believed_as_far_as_the_sslmode_says() {
    let files = tempfile::tempdir().unwrap();
    std::fs::set_permissions(files.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let Some(server) = Server::with(|_| certificates(files.path())) else { return };
    let url = Bed::on(&server).url();
    let by_name = url.replace("127.0.0.1", "localhost");
    for (url, mode, ca, believed) in [
        (&url, "disable", None, Ok(())),
        (&url, "prefer", None, Ok(())),
        (&url, "require", None, Ok(())),
        (&url, "require", Some("other.pem"), Err("UnknownIssuer")),
        (&url, "verify-ca", Some("ca.pem"), Ok(())),
        (&url, "verify-ca", Some("other.pem"), Err("UnknownIssuer")),
        (&url, "verify-full", Some("ca.pem"), Err("not valid for name")),
        (&by_name, "verify-full", Some("ca.pem"), Ok(())),
        (&by_name, "verify-full", Some("other.pem"), Err("UnknownIssuer")),
        (&by_name, "verify-full", Some("none.pem"), Err("none.pem")),
    ] {
        let address = Address::url(&format!("{url}?sslmode={mode}")).unwrap();
        let place = Place::Postgres(address.with_ca(ca.map(|name| files.path().join(name))));
        let opened = Store::open_follower(&place).map(drop).map_err(|error| format!("{:#}", anyhow::Error::new(error)));
        match (opened, believed) {
            (Ok(()), Ok(())) => {}
            (Err(error), Err(why)) => assert!(error.contains(why), "{mode} {ca:?}: {error}"),
            (opened, _) => panic!("{mode} {ca:?}: {opened:?}"),
        }
    }
}
