"""Train a sentence-transformers encoder of your own with our loss: one line of the usual script changes."""

import tempfile

import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from isometry.learning import InfoNCELoss

SUBJECTS = {
    "moon": "tides rise where its pull is strongest",
    "yeast": "bread swells from the gas that it gives off",
    "rust": "iron and water make it over the years",
    "frost": "ice forms on clear and cold nights",
    "glass": "sand is melted at great heat",
    "salt": "sea water leaves it when it dries",
}
ASKED = ("what does {} do", "tell me about {}", "why is there {}", "explain {} to me")
pairs = [(ask.format(word), answer) for word, answer in SUBJECTS.items() for ask in ASKED]

words = sorted({word for pair in pairs for text in pair for word in text.split()})
tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(["[UNK]", *words])}, unk_token="[UNK]"))
tokenizer.pre_tokenizer = Whitespace()
torch.manual_seed(0)
model = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=32)], device="cpu")


def found() -> int:
    """Return how many questions find their answer first."""
    answers = list(SUBJECTS.values())
    scores = model.similarity(model.encode([ask for ask, _ in pairs]), model.encode(answers))
    return sum(answers[best] == answer for best, (_, answer) in zip(scores.argmax(dim=1), pairs, strict=True))


before = found()
# loss = MultipleNegativesRankingLoss(model)
loss = InfoNCELoss(model, temperature=0.1, hardest=8)
with tempfile.TemporaryDirectory() as folder:
    arguments = SentenceTransformerTrainingArguments(
        folder, num_train_epochs=20, per_device_train_batch_size=12, learning_rate=0.05, report_to=[],
        save_strategy="no", disable_tqdm=True, logging_strategy="no", use_cpu=True,
    )  # fmt: skip
    data = Dataset.from_dict({"anchor": [ask for ask, _ in pairs], "positive": [answer for _, answer in pairs]})
    SentenceTransformerTrainer(model=model, args=arguments, train_dataset=data, loss=loss).train()
print(f"{len(pairs)} questions find their answer first: {before} before training, {found()} after")
