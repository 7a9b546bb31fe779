use std::os::unix::fs::PermissionsExt;

use super::*;

const RUN: &str = "202611211930";

fn directory(parent: &Path, run: &str) -> ReportDirectory {
    ReportDirectory { parent: parent.to_owned(), run: run.to_owned(), path: parent.join(run) }
}

fn latest(parent: &Path) -> PathBuf {
    fs::read_link(parent.join(LATEST)).unwrap()
}

#[test]
fn a_run_begins_with_its_directory_and_latest_points_to_it_wherever_the_volume_is_mounted() {
    let volume = tempfile::tempdir().unwrap();
    let parent = volume.path().join("reports");
    let run = directory(&parent, RUN);
    run.begin().unwrap();
    run.begin().unwrap();
    assert_eq!(fs::metadata(run.path()).unwrap().permissions().mode() & 0o700, 0o700);
    assert_eq!(latest(&parent), Path::new(RUN));
    directory(&parent, "202611211931").begin().unwrap();
    assert_eq!(latest(&parent), Path::new("202611211931"));
    assert_eq!(run.container_log("node-a", "main"), parent.join(RUN).join("node-a-container-main.log"));
}

#[test]
fn a_run_that_is_taken_up_again_is_not_the_latest_for_that() {
    let volume = tempfile::tempdir().unwrap();
    let parent = volume.path();
    directory(parent, "202611211931").begin().unwrap();
    directory(parent, RUN).begin().unwrap();
    assert_eq!(latest(parent), Path::new("202611211931"));
    assert_eq!(fs::read_dir(parent).unwrap().count(), 3, "both runs, `latest`, and nothing half-made");
}

#[test]
fn what_is_not_a_runs_is_left_alone() {
    let volume = tempfile::tempdir().unwrap();
    let parent = volume.path();
    fs::create_dir(parent.join("lost+found")).unwrap();
    fs::create_dir(parent.join(LATEST)).unwrap();
    fs::write(parent.join("notes"), "mine").unwrap();
    let run = directory(parent, RUN);
    run.begin().unwrap();
    run.forget().unwrap();
    run.forget().unwrap();
    assert!(parent.join("lost+found").is_dir() && parent.join(LATEST).is_dir() && parent.join("notes").is_file());
    assert!(!run.path().exists());
    for strange in ["", ".", "..", "notes", "../x", "lost+found", "2026"] {
        let err = directory(parent, strange).forget().unwrap_err();
        assert_eq!(err.kind(), ErrorKind::InvalidInput, "{strange}");
        directory(parent, strange).begin().unwrap_err();
    }
    assert!(parent.join("notes").is_file());
}

#[test]
fn forgetting_a_run_takes_its_latest_along_and_follows_no_link() {
    let volume = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("precious"), "x").unwrap();
    let parent = volume.path();
    let run = directory(parent, RUN);
    run.begin().unwrap();
    fs::write(run.path().join("node-a.json"), "{}").unwrap();
    symlink(elsewhere.path(), run.path().join("out")).unwrap();
    run.forget().unwrap();
    assert!(fs::symlink_metadata(parent.join(LATEST)).is_err());

    symlink(elsewhere.path(), run.path()).unwrap();
    assert!(run.files().is_err(), "nothing is written through a link in the place of the run's directory");
    run.forget().unwrap();
    assert!(elsewhere.path().join("precious").exists());
}

#[test]
fn what_a_process_that_was_killed_left_unfinished_goes_when_its_run_is_taken_up_again() {
    let volume = tempfile::tempdir().unwrap();
    let run = directory(volume.path(), RUN);
    let under_way = run.files().unwrap().fresh().unwrap();
    let left = run.path().join(".posting-left");
    let hours_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(7200);
    File::create(&left).unwrap().set_modified(hours_ago).unwrap();
    run.begin().unwrap();
    assert!(!left.exists() && fs::read_dir(run.path()).unwrap().count() == 1, "what is being written stays");
    drop(under_way);
}

#[test]
fn a_file_is_there_whole_or_not_at_all() {
    let volume = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::NamedTempFile::new().unwrap();
    let run = directory(volume.path(), RUN);
    let files = run.files().unwrap();
    drop(files.fresh().unwrap());
    assert_eq!(fs::read_dir(run.path()).unwrap().count(), 0);
    // A link that somebody put in the place of a file is replaced, not followed.
    symlink(elsewhere.path(), run.result("node-a")).unwrap();
    files.write("node-a.json", b"{}").unwrap();
    assert_eq!(fs::read(run.result("node-a")).unwrap(), b"{}");
    assert!(!fs::symlink_metadata(run.result("node-a")).unwrap().is_symlink());
    assert_eq!(fs::read(elsewhere.path()).unwrap(), b"");
}
