"""How it was done, what it cannot say, and what went wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxrexport.report.chapters.blocks import Block, Listing, Text
from cxrexport.report.chapters.networks import missing_networks
from cxrexport.report.chapters.numbers import ROW_NAMES
from cxrexport.report.paper import PUBLISHED, TITLE, is_the_papers_question

if TYPE_CHECKING:
    from cxrexport.evaluation.assess import Assessment


def failure_blocks(results: Assessment) -> tuple[Block, ...]:
    """Trials that failed and networks that were not trained, each with its reason."""
    failures = [f"{name}: {why}" for name, why in results.failures.items()]
    whole = {row.name for row in results.comparison.rows if None not in row.trials}
    missing: list[str] = []
    partly: list[str] = []
    for name, why in missing_networks(results).items():
        (partly if name in whole else missing).append(f"{ROW_NAMES.get(name, name)}: {why}")
    blocks: list[Block] = []
    if failures:
        blocks.append(Listing("Failed", tuple(failures)))
    if missing:
        blocks.append(Listing("Not in the comparison, or not in every trial", tuple(missing)))
    if partly:
        blocks.append(Listing("In the comparison, but without some networks", tuple(partly)))
    return tuple(blocks) or (Text("Nothing failed, and every network of the table was trained."),)


def method_blocks(results: Assessment) -> tuple[Block, ...]:
    """The methods of every table above, and their limits."""
    common = (Listing("Methods", _METHODS), Listing("Limitations", _limitations(results)))
    if not is_the_papers_question(results.labels):
        return common
    return (
        *common,
        Listing("Where this differs from the study", _DIFFERENCES),
        Text(
            f"The study: {TITLE}. {PUBLISHED['published']} (published); {PUBLISHED['preprint']} "
            "(preprint). Where they disagree, both values are printed."
        ),
    )


_METHODS = (
    "Probability of the positive class: the softmax of a network's two logits; the ensemble is the "
    "mean of the probabilities of its members, which the table of networks names, as far as they "
    "were trained. Majority vote: of the networks with preprocessing, a tie falls to their mean.",
    "Intervals of areas, scores and differences: 2.5th and 97.5th percentile of bootstrap "
    "resamples of the test films' patients, because films of one patient are not independent. A "
    "resample that lacks a class is drawn again. Every figure of the same films rests on the same "
    "resamples.",
    "Intervals of proportions (accuracy, sensitivity, specificity, predictive values): exact, "
    "Clopper and Pearson. Where a patient has several films, Korn and Graubard's number of "
    "independent films takes the place of the number of films.",
    "Over random splits: the mean of the splits, and the percentiles of all resamples of all "
    "splits together, so that the interval holds the chance of the split as well; of a proportion "
    "no narrower than the splits' exact intervals are on average. The audit compares films of the "
    "same split only, all splits together.",
    "DeLong's test of two ROC AUCs of the same films: components of films of one patient are "
    "summed (Obuchowski 1997). Beside it stands the bootstrap, paired on the same resamples.",
    "ROC AUC: chance that a positive film scores above a negative one, ties half. PR AUC: average "
    "precision, not interpolated.",
    "Embeddings are those of ResNet50, or of the first member of an ensemble without it. They and "
    "their distances are compared within a trial only: those of two trained networks have "
    "nothing in common.",
    "Heatmaps: Grad-CAM on the last feature maps, mean over the networks.",
)
_DIFFERENCES = (
    "The study chose its number of epochs by the accuracy on the test set. Here epochs are chosen "
    "on validation films, and no test film chooses anything.",
    "The study's head turns the feature matrix into a vector; here it is pooled first, so that a "
    "network is not bound to one image size (docs/adr/0004).",
    "Of the nine augmentations of the study the seventh (flip left to right) and the ninth "
    "(horizontal flip) are the same operation and are done as one. Never vertical.",
    "The study does not state the architecture of its CheXpert network; here it is DenseNet121, "
    "the CheXpert paper's own.",
)


def _limitations(results: Assessment) -> tuple[str, ...]:
    learnt = any(trial.train is not None for trial in results.collection.trials)
    from_where = (
        "Of each source that was left out, some other may be alike: same country, same machines."
        if results.transfer
        else "Test films come from the same sources as the training films; no hospital was kept "
        "apart."
        if learnt
        else "The manifest does not say which films the networks learnt from. Films that are among "
        "them make every figure here better than it is."
    )
    sources = [group.name for group in results.collection.by_source]
    one_source = (
        "No film's source is stated: nothing here says how the networks do at another hospital."
        if sources == [None]
        else "All films are of one source: nothing here says how the networks do elsewhere."
    )
    return (
        "The figures hold for films like these: these hospitals, these machines, this mixture of "
        "patients. At another hospital they have to be measured anew.",
        *((one_source,) if len(sources) == 1 else ()),
        from_where,
        "Similarity of films is similarity to the network; no clinician has judged it.",
        "A subgroup, an operating point or a trial is one of many in this report: by chance alone "
        "one interval in twenty misses its value.",
        "A heatmap shows where the evidence of a score lies, not why it is evidence.",
        "Labels are taken as the manifest gives them.",
    )
