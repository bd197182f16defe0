"""What a model attended to: audio against text, layer by layer, for chosen items.

capture/attention/
    summary.json               each layer over all captured prompts, what was left out and why
    share_by_layer.{png,svg}   the share of attention that audio gets
    <item>[~variant]/
        attn.npy               (layers, groups, tokens): what the prompt's last token attends to
        attn_text.npy          the same, mean over the text behind the audio
        shares.npy             (layers, groups, text tokens behind the audio, 3): the share of
                               audio, text and special tokens
        full.npy               (layers, groups, tokens, tokens), where asked for
        tokens.json            each token: its kind, text and seconds
        meta.json              prompt, settings, shapes, shares by layer
        heatmap.{png,svg}      layers against time, over the spectrogram
"""
