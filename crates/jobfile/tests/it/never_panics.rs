use jobmeter_jobfile::{PodFacts, read};
use proptest::prelude::*;

const SAMPLE: &str = include_str!("../../../../examples/quickstart.yaml");

proptest! {
    #[test]
    fn on_any_text(text in any::<String>()) {
        drop(read("f", &text));
    }

    #[test]
    fn on_yaml_like_text(text in "([ \\-]{0,4}[a-z&*<]{1,4}(: |:\n|\n|: \\[|\\]|\\{|\\}|, )){0,30}") {
        drop(read("f", &text));
    }

    #[test]
    fn on_a_damaged_manifest(cut in 0..SAMPLE.len(), with in "[a-z0-9:&*{}\\[\\]'\" \n|>-]{0,6}", drop in 0_usize..20) {
        let cut = (0..=cut).rev().find(|at| SAMPLE.is_char_boundary(*at)).unwrap_or(0);
        let rest = (cut + drop..=SAMPLE.len()).find(|at| SAMPLE.is_char_boundary(*at)).unwrap_or(SAMPLE.len());
        let text = format!("{}{with}{}", &SAMPLE[..cut], &SAMPLE[rest..]);
        if let Ok(file) = read("f", &text) {
            for container in file.jobs.iter().flat_map(|job| &job.pod.containers) {
                prop_assert!(!container.resolve(&PodFacts::default()).argv.is_empty());
            }
        }
    }
}
