"""Caption metrics: a PTB-style tokeniser, CIDEr-D, BLEU, ROUGE-L, sentence similarity, FENSE."""
