// SPDX-License-Identifier: MIT
/*
 * The slow way: look at the page; if it cannot be had as it is, fault as the caller would, and look
 * again. A marked page is handed out as it is, mark and all, to a caller that neither writes nor
 * honours the hint; everybody else takes the hinting fault first.
 */
#include "gup.h"

/* One call, and the mapping that its current page lies in. */
struct gup {
	struct nhi_mm *mm;
	unsigned int flags;
	struct nhi_toucher me;
	struct nhi_mapping in; /* .start == .end: not known yet */
	struct nhi_map *map;   /* referenced; NULL: not managed */
	bool was_none;	       /* the current page: nobody knew it before */
};

/* Return: true: @addr is managed. *next: where the next managed range begins, if it is not. */
static bool managed_at(struct nhi_mm *mm, uintptr_t addr, struct nhi_mapping *in,
		       struct nhi_map **map, uintptr_t *next)
{
	struct nhi_vma vma;

	*next = UINTPTR_MAX;
	if (!nhi_vma_next(mm, addr, UINTPTR_MAX, &vma))
		return false;
	*next = vma.start;
	if (vma.start > addr) {
		nhi_map_put(mm, vma.map);
		return false;
	}
	*in = (struct nhi_mapping){ .start = vma.start,
				    .end = vma.end,
				    .prot = vma.prot,
				    .kind = vma.map->kind,
				    .shared = vma.map->kind == NHI_KIND_SHMEM };
	*map = vma.map;
	return true;
}

int nhi_mapping_at(struct nhi_mm *mm, uintptr_t addr, struct nhi_mapping *in, struct nhi_map **map)
{
	uintptr_t next;
	long n;

	*map = NULL;
	if (managed_at(mm, addr, in, map, &next))
		return 0;
	n = mm->os->ops->mappings(mm->os, addr, addr + nhi_page_size(mm), in, 1);
	if (n < 0)
		return (int)n;
	/* Managed and marked since we looked? Then the os shows the mark, not the mapping. */
	if (managed_at(mm, addr, in, map, &next))
		return 0;
	if (!n)
		return -EFAULT;
	in->start = nhi_max(in->start, addr);
	in->end = nhi_min(in->end, next);
	return 0;
}

static void forget_mapping(struct gup *g)
{
	if (g->map)
		nhi_map_put(g->mm, g->map);
	g->map = NULL;
	g->in.start = g->in.end = 0;
}

/* The mapping of @addr into g->in. */
static int find_mapping(struct gup *g, uintptr_t addr)
{
	int err;

	if (g->in.start <= addr && addr < g->in.end)
		return 0;
	forget_mapping(g);
	err = nhi_mapping_at(g->mm, addr, &g->in, &g->map);
	if (err)
		g->in.start = g->in.end = 0;
	return err;
}

/* Cases 29, 30, 51: may this mapping be used so? */
static int check_mapping(const struct gup *g)
{
	const struct nhi_mapping *in = &g->in;
	const bool force = g->flags & NHI_FOLL_FORCE;

	const unsigned int dirtying = NHI_FOLL_PIN | NHI_FOLL_LONGTERM | NHI_FOLL_WRITE;

	if (in->kind == NHI_KIND_SPECIAL)
		return -EFAULT;
	if (g->flags & NHI_FOLL_ANON && (in->kind != NHI_KIND_ANON || in->shared))
		return -EFAULT;
	if (g->flags & NHI_FOLL_SPLIT_PMD && in->kind == NHI_KIND_HUGETLB)
		return -EOPNOTSUPP;
	/* A file system would not hear of what is written after it cleaned the page. */
	if ((g->flags & dirtying) == dirtying && in->kind == NHI_KIND_FILE && in->shared)
		return -EFAULT;
	if (g->flags & NHI_FOLL_WRITE) {
		if (in->prot & NHI_PROT_WRITE)
			return 0;
		/* FORCE writes into a private copy only. */
		return force && !in->shared && in->kind != NHI_KIND_HUGETLB ? 0 : -EFAULT;
	}
	return in->prot & NHI_PROT_READ || force ? 0 : -EFAULT;
}

/* Case 22, with the exception of case 24: must this caller take the hinting fault? */
static bool must_fault(const struct gup *g)
{
	if (g->flags & NHI_FOLL_HONOR_NUMA_FAULT)
		return true;
	if (!(g->flags & NHI_FOLL_WRITE))
		return false;
	return !(g->flags & NHI_FOLL_FORCE) || g->in.prot & NHI_PROT_WRITE;
}

static bool is_there(struct gup *g, uintptr_t addr)
{
	uint8_t info = 0;

	return !g->mm->os->ops->query(g->mm->os, g->map, addr, 1, &info) && info & NHI_INFO_PRESENT;
}

/* Make the page present as an access of the caller would. -EINPROGRESS: not without waiting. */
static int bring_in(struct gup *g, uintptr_t addr)
{
	const bool write = g->flags & NHI_FOLL_WRITE;
	int err;

	if (!write && is_there(g, addr))
		return 0;
	if (g->flags & NHI_FOLL_NOFAULT)
		return is_there(g, addr) ? 0 : -EFAULT;
	err = g->mm->os->ops->populate(g->mm->os, g->map, addr, write, g->flags & NHI_FOLL_FORCE);
	if (err == -EAGAIN && g->flags & NHI_FOLL_NOWAIT)
		return -EINPROGRESS;
	return err == -EHWPOISON && !(g->flags & NHI_FOLL_HWPOISON) ? -EFAULT : err;
}

/*
 * Around every lock of an entry: under mmap_lock for reading, so that a fork does not come between
 * and leave the child an entry that is locked for ever.
 */
static unsigned int begin(struct gup *g, uint64_t *token)
{
	g->mm->os->ops->enter(g->mm->os, token);
	if (NHI_CANARY(GUP_LETS_FORK_IN))
		return 0;
	return nhi_mmap_read_lock(g->mm->os, &g->mm->mmap_lock, (unsigned int)g->me.tid);
}

static void end(struct gup *g, unsigned int slot, const uint64_t *token)
{
	if (!NHI_CANARY(GUP_LETS_FORK_IN))
		nhi_mmap_read_unlock(g->mm->os, &g->mm->mmap_lock, slot);
	g->mm->os->ops->leave(g->mm->os, token);
}

/* NONE -> PRESENT, so that it can be referenced, or back. */
static int note(struct gup *g, uintptr_t addr, nhi_word *entry, struct nhi_pmd *pmd,
		enum nhi_state from, enum nhi_state to)
{
	nhi_word old;
	uint64_t token;
	unsigned int slot = begin(g, &token);
	int err = nhi_entry_trylock(g->mm, addr, entry, pmd, NHI_WANT(from), &old);

	if (!err)
		nhi_entry_unlock(
			g->mm, addr, entry,
			to == NHI_NONE && nhi_word_gets(old) ? old : nhi_word_with_state(old, to));
	end(g, slot, &token);
	return err == -EBUSY ? err : -EAGAIN; /* look again, at what it is now */
}

/* From now on gup_fast.c may reference the page for writing, too. */
static void may_write(struct gup *g, uintptr_t addr, nhi_word *entry, nhi_word word)
{
	struct nhi_vma vma;

	while (!(word & NHI_W_WRITE) && !nhi_cas_seq_cst(entry, &word, word | NHI_W_WRITE))
		;
	/*
	 * The protection may have changed since we looked it up: nhi_mprotect() sets it and then takes
	 * the bit away, we set the bit and then look at it. One of the two sees the other.
	 */
	if (!nhi_vma_next(g->mm, addr, addr + nhi_page_size(g->mm), &vma))
		return;
	word = nhi_load_relaxed(entry);
	while (!(vma.prot & NHI_PROT_WRITE) && word & NHI_W_WRITE &&
	       !nhi_cas_relaxed(entry, &word, word & ~NHI_W_WRITE))
		;
	nhi_map_put(g->mm, vma.map);
}

/*
 * The page is referenced, so it is not marked under our hands: now it can be brought in, if it is not
 * known to be there for what it is wanted for.
 */
static int use_present(struct gup *g, uintptr_t addr, nhi_word *entry, bool was_none)
{
	nhi_word word = nhi_load_relaxed(entry);
	int err = 0;

	if (was_none || (g->flags & NHI_FOLL_WRITE && !(word & NHI_W_WRITE)))
		err = bring_in(g, addr);
	if (err || !(g->in.prot & NHI_PROT_WRITE) || !(g->flags & NHI_FOLL_WRITE))
		return err;
	if (!(word & NHI_W_WRITE))
		may_write(g, addr, entry, word);
	return 0;
}

/*
 * A marked page for who does not honour the hint: the reference keeps it where it is, and the
 * contents are copied, for there is no address that shows them and stays good when the page is
 * touched. Return: 0; -EAGAIN: it changed meanwhile.
 */
static int get_marked(struct gup *g, uintptr_t addr, nhi_word *entry, struct nhi_pmd *pmd,
		      struct nhi_page *page)
{
	const struct nhi_os_ops *ops = g->mm->os->ops;
	const size_t bytes = nhi_page_size(g->mm);
	void *copy = ops->table_alloc(g->mm->os, bytes);
	nhi_word old;
	uint64_t token;
	unsigned int slot;
	int err;

	if (!copy)
		return -ENOMEM;
	slot = begin(g, &token);
	err = nhi_entry_trylock(g->mm, addr, entry, pmd, NHI_WANT(NHI_MARKED), &old);
	if (!err) {
		err = nhi_word_gets(old) == 0xffff ? -ENOMEM :
						     ops->peek(g->mm->os, g->map, addr, copy);
		/* Only the holder of the lock adds a reference to an entry that is locked. */
		if (!err)
			(void)nhi_add_relaxed(entry, NHI_W_GET_ONE);
		nhi_entry_unlock(g->mm, addr, entry, err ? old : old | NHI_W_YOUNG);
	} else {
		err = -EAGAIN;
	}
	end(g, slot, &token);
	if (err) {
		ops->table_free(g->mm->os, copy, bytes);
		return err;
	}
	nhi_page_set(page, addr, NHI_FOLL_GET, false);
	page->word |= NHI_PAGE_IS_COPY;
	page->usable = (uintptr_t)copy;
	return 0;
}

/* The page at @addr is marked. Return: 0 done; -EAGAIN look again. */
static int on_marked(struct gup *g, uintptr_t addr, nhi_word *entry, struct nhi_pmd *pmd,
		     struct nhi_page *page)
{
	const struct nhi_os_ops *ops = g->mm->os->ops;
	uint64_t token;
	int err;

	if (must_fault(g)) {
		/* Case 32: a dump that honours hints takes no hinting fault on a huge page. */
		if (entry == &pmd->word && g->flags & NHI_FOLL_DUMP && g->in.kind == NHI_KIND_ANON)
			return -EFAULT;
		if (g->flags & NHI_FOLL_NOFAULT)
			return -EFAULT;
		ops->enter(g->mm->os, &token);
		/* The caller's touch, as far as accounting and placement go (case 45). */
		err = nhi_fault(g->mm, addr,
				g->in.prot & NHI_PROT_WRITE && g->flags & NHI_FOLL_WRITE, &g->me,
				NHI_DELIVERY_THREAD);
		ops->leave(g->mm->os, &token);
		return err && err != -ENOENT ? err : -EAGAIN;
	}
	if (g->flags & NHI_FOLL_PIN) {
		/* A pinned page is used at its address, so it cannot stay marked: no hinting fault. */
		return nhi_unmark_range(g->mm, addr, addr + nhi_page_size(g->mm)) < 0 ? -EFAULT :
											-EAGAIN;
	}
	if (!(g->flags & NHI_FOLL_GET))
		return 0;
	if (entry == &pmd->word) {
		const unsigned int slot = begin(g, &token);

		err = nhi_pmd_split(g->mm, addr, pmd);
		end(g, slot, &token);
		/* Referenced or locked: then it is not marked any more, so look again. */
		return err == -ENOMEM ? err : -EAGAIN;
	}
	return get_marked(g, addr, entry, pmd, page);
}

/* Return: 0 done; -EAGAIN look again. @pmd: NULL if @entry is the PMD's. */
static int on_present(struct gup *g, uintptr_t addr, nhi_word *entry, struct nhi_pmd *pmd,
		      struct nhi_page *page)
{
	const bool keep = g->flags & (NHI_FOLL_GET | NHI_FOLL_PIN);
	/* What it may be used for is seen to under the reference, not by it. */
	const unsigned int kind = g->flags & NHI_FOLL_PIN ? NHI_FOLL_PIN : NHI_FOLL_GET;
	struct nhi_page held;
	int err = nhi_entry_ref(entry, pmd, 1, kind);

	if (err)
		return err == -ENOMEM ? err : -EAGAIN;
	nhi_page_set(&held, addr, kind, !pmd);
	err = use_present(g, addr, entry, g->was_none);
	if (!err && keep)
		*page = held;
	else
		nhi_pages_put(g->mm, &held, 1, kind == NHI_FOLL_PIN);
	if (err && g->was_none)
		(void)note(g, addr, entry, pmd, NHI_PRESENT, NHI_NONE);
	return err;
}

/* One look at @addr. Return: 0 done; -EAGAIN look again; -EDEADLK wait for the entry first. */
static int look(struct gup *g, uintptr_t addr, struct nhi_page *page, nhi_word **ret_entry)
{
	struct nhi_mm *mm = g->mm;
	struct nhi_pmd *pmd = nhi_pmd_alloc(mm, addr);
	bool huge;
	nhi_word *entry, word;

	if (!pmd || nhi_pte_alloc(mm, pmd))
		return -ENOMEM;
	entry = *ret_entry = nhi_entry_lookup(mm, addr, &huge);
	word = nhi_load_acquire(entry);
	if (nhi_word_busy(word))
		return g->flags & NHI_FOLL_NOFAULT ? -EFAULT : -EDEADLK;
	/* The fault is declined, for nobody may access this VMA; and again, and again. */
	if (NHI_CANARY(FOLLOW_RULE_LOOPS) && !g->in.prot && must_fault(g))
		return -EAGAIN;
	/* A mark on a mapping that lost all access means nothing (case 2). */
	if (nhi_word_state(word) == NHI_MARKED && g->in.prot)
		return on_marked(g, addr, entry, pmd, page);
	if (nhi_word_state(word) == NHI_NONE) {
		/* Case 33: for a dump nothing is allocated. */
		if (g->flags & (NHI_FOLL_DUMP | NHI_FOLL_NOFAULT) && !is_there(g, addr))
			return -EFAULT;
		g->was_none = true;
		return note(g, addr, entry, pmd, NHI_NONE, NHI_PRESENT);
	}
	return on_present(g, addr, entry, huge ? NULL : pmd, page);
}

static int slow_one(struct gup *g, uintptr_t addr, struct nhi_page *page)
{
	const struct nhi_os_ops *ops = g->mm->os->ops;
	nhi_word *entry = NULL;
	int err;

	g->was_none = false;
	for (;;) {
		err = find_mapping(g, addr);
		if (!err)
			err = check_mapping(g);
		if (!err)
			err = look(g, addr, page, &entry);
		if (err == -EDEADLK) /* waits are not accounted: case 110 */
			nhi_entry_wait(g->mm, addr, entry);
		else if (err == -EAGAIN)
			ops->relax(g->mm->os);
		else
			return err;
		forget_mapping(g);
	}
}

static long slow(struct nhi_mm *mm, uintptr_t start, uint64_t nr, unsigned int flags,
		 struct nhi_page *pages)
{
	struct gup g = { .mm = mm, .flags = flags };
	uint64_t done = 0;
	int err = 0;

	mm->os->ops->self(mm->os, &g.me);
	while (done < nr && !err) {
		err = slow_one(&g, start + (done << mm->page_shift), pages ? &pages[done] : NULL);
		done += !err;
	}
	forget_mapping(&g);
	/* Case 35: who does not wait gets what there was. */
	return done || err == -EINPROGRESS ? (long)done : err;
}

/* Cases 46 to 50 and 62. Return: 1 go on; else what the call returns. */
static long check_args(const struct nhi_mm *mm, enum nhi_gup_call call, uintptr_t start,
		       uint64_t nr, unsigned int flags, const struct nhi_page *pages)
{
	const bool pin = call == NHI_GUP_PIN || call == NHI_GUP_PIN_FAST;
	const bool fast = call == NHI_GUP_FAST || call == NHI_GUP_PIN_FAST ||
			  call == NHI_GUP_FAST_ONLY;
	const long refused = call == NHI_GUP_PIN ? 0 : -EINVAL;
	const unsigned int for_fast = NHI_FOLL_WRITE | NHI_FOLL_LONGTERM | NHI_FOLL_FORCE |
				      NHI_FOLL_GET | NHI_FOLL_NOFAULT | NHI_FOLL_PCI_P2PDMA |
				      NHI_FOLL_HONOR_NUMA_FAULT;
	const uintptr_t mask = nhi_page_size(mm) - 1;

	if (flags & ~NHI_FOLL_EXTERNAL || (fast && flags & ~for_fast))
		return refused;
	if ((pin && flags & NHI_FOLL_GET) || (flags & NHI_FOLL_LONGTERM && !pin) ||
	    (flags & NHI_FOLL_LONGTERM && flags & NHI_FOLL_PCI_P2PDMA))
		return refused;
	if (!pages && (pin || fast || flags & NHI_FOLL_GET))
		return refused;
	if (start & mask)
		return -EINVAL;
	if (!nr)
		return 0;
	if (nr > (UINTPTR_MAX >> mm->page_shift) || start + (nr << mm->page_shift) < start)
		return -EOVERFLOW;
	return 1;
}

long nhi_gup(struct nhi_mm *mm, enum nhi_gup_call call, uintptr_t start, uint64_t nr,
	     unsigned int flags, struct nhi_page *pages)
{
	long ret = check_args(mm, call, start, nr, flags, pages);
	uint64_t done = 0;

	if (ret <= 0)
		return ret;
	if (call == NHI_GUP_PIN || call == NHI_GUP_PIN_FAST)
		flags |= NHI_FOLL_PIN;
	else if (pages)
		flags |= NHI_FOLL_GET;
	if (pages)
		done = nhi_gup_fast(mm, start, nr, flags, pages);
	if (done == nr || call == NHI_GUP_FAST_ONLY)
		return (long)done;
	ret = slow(mm, start + (done << mm->page_shift), nr - done, flags,
		   pages ? pages + done : NULL);
	if (ret < 0)
		return done ? (long)done : ret;
	return (long)done + ret;
}
