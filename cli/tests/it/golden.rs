//! What every form of the answer looks like, letter by letter.

use jobmeter::eff::report;
use jobmeter::output::{Form, Rendering, Row, Units, parse_format, render};
use jobmeter_protocol::JobState;

use crate::example;

fn pods(how: &Rendering) -> String {
    let rows: Vec<Row> = example::records().into_iter().map(|record| Row::Pod(Box::new(record))).collect();
    text(&rows, how)
}

fn jobs(how: &Rendering) -> String {
    let sort = [example::short(), example::partial()];
    let rows = [
        Row::Job { job: Box::new(example::job("sort", JobState::Failed, &sort)), pods: sort.to_vec() },
        Row::Job { job: Box::new(example::job("train", JobState::Failed, &[example::killed()])), pods: vec![example::killed()] },
    ];
    text(&rows, how)
}

fn text(rows: &[Row], how: &Rendering) -> String {
    let mut out = Vec::new();
    render(rows, how, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn how(form: Form) -> Rendering {
    Rendering { form, namespaces: true, ..Rendering::table(example::now()) }
}

#[test]
fn pods_as_a_table_mark_every_figure_that_is_not_the_kernels() {
    insta::assert_snapshot!(pods(&how(Form::Table)));
}

#[test]
fn pods_as_a_wide_table() {
    insta::assert_snapshot!(pods(&how(Form::Wide)));
}

#[test]
fn pods_as_csv_carry_base_units_and_methods() {
    insta::assert_snapshot!(pods(&how(Form::Csv)));
}

#[test]
fn pods_as_names_are_what_kubectl_takes() {
    insta::assert_snapshot!(pods(&how(Form::Name)));
}

#[test]
fn the_split_of_a_job_is_not_shown_where_one_of_its_pods_lacks_it() {
    let whole = example::record("sort", "sort-0", 0.0, 2.0);
    let mut lacks = example::record("sort", "sort-1", 0.0, 2.0);
    lacks.usage.cpu_user_seconds = None;
    lacks.usage.cpu_system_seconds = None;
    let pods = vec![whole, lacks];
    let rows = [Row::Job { job: Box::new(example::job("sort", JobState::Completed, &pods)), pods: pods.clone() }];
    let columns = parse_format("UserCPU,SystemCPU,TotalCPU").ok();
    let text = text(&rows, &Rendering { columns, header: false, ..how(Form::Parsable) });
    assert_eq!(text, "||4.44\n");
    let mut page = Vec::new();
    report::write(None, &pods, example::now(), &mut page).unwrap();
    assert!(!String::from_utf8(page).unwrap().contains(" user, "));
}

#[test]
fn a_job_that_runs_has_no_empty_value_in_its_page() {
    let mut pods = vec![example::record("sort", "sort-0", 0.0, 2.0), example::record("sort", "sort-1", 0.0, 2.0)];
    for pod in &mut pods {
        pod.time.finished = None;
        pod.time.elapsed_seconds = None;
    }
    let mut page = Vec::new();
    report::write(None, &pods, example::now(), &mut page).unwrap();
    let page = String::from_utf8(page).unwrap();
    assert!(page.contains("1h00m from 2026-11-20 17:00:00.000 UTC\n") && !page.contains("of pod time"), "{page}");
}

#[test]
fn a_pod_as_json_is_the_whole_record() {
    let text = text(&[Row::Pod(Box::new(example::killed()))], &how(Form::Json));
    insta::assert_snapshot!(text);
    let read: Vec<jobmeter_protocol::Record> = serde_json::from_str(&text).unwrap();
    assert_eq!(read, [example::killed()]);
}

#[test]
fn yaml_of_several_pages_is_one_list() {
    let text = pods(&how(Form::Yaml));
    insta::assert_snapshot!(text);
    let read: Vec<jobmeter_protocol::Record> = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(read, example::records());
}

#[test]
fn chosen_fields_as_json_keep_their_methods_and_their_order() {
    let columns = parse_format("State,JobName,TotalCPU,MaxRSS,ReqMem").unwrap();
    insta::assert_snapshot!(pods(&Rendering { columns: Some(columns), ..how(Form::Json) }));
}

#[test]
fn parsable2_is_what_a_script_of_a_slurm_user_reads() {
    let columns = parse_format("JobID,State,ExitCode,Elapsed,TotalCPU,MaxRSS,ReqMem,ReqCPUS,NodeList").unwrap();
    let how = Rendering { columns: Some(columns), units: Some(Units::Slurm), ..how(Form::Parsable) };
    insta::assert_snapshot!(pods(&how));
}

#[test]
fn widths_cut_and_align_as_sacct_does() {
    let columns = parse_format("JobName%4,Pod%-8,Elapsed%12").unwrap();
    insta::assert_snapshot!(pods(&Rendering { columns: Some(columns), ..how(Form::Table) }));
}

#[test]
fn jobs_as_tables_and_csv() {
    insta::assert_snapshot!("jobs_table", jobs(&how(Form::Table)));
    insta::assert_snapshot!("jobs_wide", jobs(&how(Form::Wide)));
    insta::assert_snapshot!("jobs_csv", jobs(&how(Form::Csv)));
    insta::assert_snapshot!("jobs_names", jobs(&how(Form::Name)));
}

#[test]
fn without_a_header_there_is_no_legend_either() {
    insta::assert_snapshot!(pods(&Rendering { header: false, ..how(Form::Table) }));
}

#[test]
fn nothing_is_an_empty_answer_in_every_form() {
    assert_eq!(text(&[], &how(Form::Table)), "");
    assert_eq!(text(&[], &how(Form::Json)), "[]\n");
    assert_eq!(text(&[], &how(Form::Yaml)), "[]\n");
    assert_eq!(text(&[], &how(Form::Name)), "");
    assert!(text(&[], &how(Form::Csv)).starts_with("namespace,job,pod,state"));
}

#[test]
fn eff_of_pods_and_of_jobs() {
    let page = |job: Option<&jobmeter_protocol::Job>, records: &[jobmeter_protocol::Record]| {
        let mut out = Vec::new();
        report::write(job, records, example::now(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    insta::assert_snapshot!("eff_short", page(None, &[example::short()]));
    insta::assert_snapshot!("eff_killed", page(None, &[example::killed()]));
    insta::assert_snapshot!("eff_partial", page(None, &[example::partial()]));
    insta::assert_snapshot!("eff_without_cgroups", page(None, &[example::without_cgroups()]));
    insta::assert_snapshot!("eff_never_ran", page(None, &[example::never_ran()]));
    let many: Vec<_> = (0..12)
        .map(|index| example::record("sort", &format!("sort-{index:02}"), f64::from(index), f64::from(index + 1)))
        .collect();
    insta::assert_snapshot!("eff_many", page(Some(&example::job("sort", JobState::Completed, &many)), &many));
}
