"""Triton source text from kernels.

    Kernel + Schedule ─cuts▶ pieces ─pieces▶ joined axes ─nests, matmul▶ TritonCode

How each piece is written is a choice (`choice`): the first that `ranking` gives, or one
that was measured (`lockfile`).

`emit.emit_kernel` turns one kernel into the Triton kernels that compute it, as plain
text and data; nothing here imports Triton but `build`, which compiles that text to PTX
and a cubin, without a GPU. The form follows from the structure of the kernel:

- **pointwise**: all axes flattened into ``xindex``, XBLOCK elements a program;
- **persistent**: rows up to 4096 elements are held whole, XBLOCK rows a program, the
  reduced axes flattened into ``rindex``;
- **looped**: longer rows, in phases that compute again what several of them need; also
  columns, where ``x`` runs along memory and ``r`` is looped over;
- **split**: a reduction with fewer results than the device has processors becomes a
  partial and a finishing kernel (`cuts`);
- **matmul**: contractions, with what is computed before and after them, rows of up to
  256 columns too (`matmul`);
- **stream**: attention, in one pass with a running maximum (`online`, `streams`);
- **parts**: independent loop nests, each in a range of the programs (`emit`).

Of the schedule only the order of the axes counts: lanes and row buffers are the CPU's.
Views are index maps, so they cost nothing here either. Bounds become masks with
``other=``; loaded indices wrap and are clamped, bad ones are reported in ``err_ptr``.
"""
