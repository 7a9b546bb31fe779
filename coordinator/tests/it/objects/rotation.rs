//! The Secret changes while the process runs.

use std::os::unix::fs::symlink;
use std::path::Path;

use axum::body::Bytes;
use jobmeter_coordinator::config::objects::{ObjectsConfig, PlainFields};
use jobmeter_coordinator::objects::ObjectError;
use jobmeter_daemon::admin::SourceBoard;

use super::contract::{TEXT, read};
use super::doubles::{Fault, S3sFs};
use super::stores::{ACCESS_KEY, BUCKET, SECRET_KEY, config, looking_at_once, secret};

/// As the kubelet does it: another directory, and one link that is swapped.
fn publish(volume: &Path, version: &str, fields: &[(&str, &str)]) {
    std::fs::create_dir(volume.join(version)).unwrap();
    for (name, value) in fields {
        std::fs::write(volume.join(version).join(name), value).unwrap();
        if !volume.join(name).is_symlink() {
            symlink(format!("..data/{name}"), volume.join(name)).unwrap();
        }
    }
    symlink(version, volume.join("..data_tmp")).unwrap();
    std::fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
}

#[tokio::test]
async fn a_changed_secret_is_used_without_a_restart() {
    let server = S3sFs::start(Fault::default()).await;
    let volume = secret(&[]);
    let endpoint = format!("http://{}", server.address);
    let with = |key| [("accessKeyID", ACCESS_KEY), ("secretAccessKey", key), ("endpoint", endpoint.as_str())];
    publish(volume.path(), "1", &with("an old key"));
    let objects = looking_at_once(config(volume.path()), &SourceBoard::default());
    let error = objects.put("a", &TEXT, Bytes::from("x")).await.unwrap_err();
    assert!(matches!(error, ObjectError::Refused { .. }), "{error:?}");

    publish(volume.path(), "2", &with(SECRET_KEY));
    objects.put("a", &TEXT, Bytes::from("x")).await.unwrap();
    assert_eq!(objects.location("a"), format!("s3://{BUCKET}/a"));
    let shown = format!("{objects:?}");
    assert!(!shown.contains(SECRET_KEY) && !shown.contains("an old key"), "{shown}");
}

#[tokio::test]
async fn a_secret_that_comes_later_ends_the_use_of_the_directory_and_its_loss_does_not_bring_it_back() {
    let server = S3sFs::start(Fault::default()).await;
    let (volume, directory) = (secret(&[]), tempfile::tempdir().unwrap());
    let config = ObjectsConfig {
        directory: directory.path().to_owned(),
        plain: PlainFields::default(),
        prefix: "of/us".to_owned(),
        ..config(volume.path())
    };
    let sources = SourceBoard::default();
    let objects = looking_at_once(config, &sources);
    objects.put("a", &TEXT, Bytes::from("x")).await.unwrap();
    assert!(objects.is_directory());
    assert_eq!(objects.location("a"), directory.path().join("of/us/a").display().to_string());

    let endpoint = format!("http://{}", server.address);
    let fields = [("accessKeyID", ACCESS_KEY), ("secretAccessKey", SECRET_KEY), ("endpoint", &endpoint), ("bucket", BUCKET)];
    publish(volume.path(), "1", &fields);
    objects.put("b", &TEXT, Bytes::from("y")).await.unwrap();
    assert!(!objects.is_directory());
    assert_eq!(std::fs::read(server.bucket().join("of/us/b")).unwrap(), b"y");
    assert_eq!(read(&objects, "b", None).await.unwrap(), b"y");

    publish(volume.path(), "2", &[]);
    let error = objects.put("c", &TEXT, Bytes::from("z")).await.unwrap_err();
    assert!(matches!(error, ObjectError::Unusable { .. }), "{error:?}");
    assert!(!directory.path().join("of/us/c").exists());
}
