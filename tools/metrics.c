// SPDX-License-Identifier: GPL-2.0
/* hugepoison-inject: the status as metrics, in Prometheus' text format. */
#include <inttypes.h>
#include <string.h>

#include "inject.h"

/* All samples of a metric have to stand together, below its one header. */
struct metric {
	const char *name, *type, *help;
	bool (*wanted)(const struct figure *fig, const char **label);
	const char *label;	/* beside size and node */
};

static bool bad_pages(const struct figure *fig, const char **label)
{
	(void)label;
	return fig->group == FIGURE_BAD && !strcmp(fig->name, "mce_bad_pages");
}

static bool poisoned(const struct figure *fig, const char **label)
{
	(void)label;
	return fig->group == FIGURE_BAD && !strcmp(fig->name, "poisoned_hugepages");
}

static bool event(const struct figure *fig, const char **label)
{
	*label = fig->name;
	return fig->group == FIGURE_EVENT;
}

static bool pool(const struct figure *fig, const char **label)
{
	static const char *const names[][2] = {
		{ "nr_hugepages", "total" }, { "free_hugepages", "free" },
		{ "surplus_hugepages", "surplus" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		*label = names[i][1];
		if (fig->group == FIGURE_POOL && !strcmp(fig->name, names[i][0]))
			return true;
	}
	return false;
}

static bool reserved(const struct figure *fig, const char **label)
{
	(void)label;
	return fig->group == FIGURE_POOL && fig->node == ANY_NODE;
}

static const struct metric metrics[] = {
	{ "hugepoison_bad_pages", "gauge", "Base pages of hugepages that are out of use.",
	  bad_pages, NULL },
	{ "hugepoison_poisoned_hugepages", "gauge", "Hugepages that hold a bad page.", poisoned,
	  NULL },
	{ "hugepoison_events_total", "counter", "Errors by how they ended, and what came after.",
	  event, "event" },
	{ "hugepoison_pool_hugepages", "gauge", "Hugepages of the pool.", pool, "state" },
	{ "hugepoison_pool_reserved_hugepages", "gauge", "Hugepages that are promised.", reserved,
	  NULL },
};

static void header(FILE *f, const char *name, const char *type, const char *help)
{
	fprintf(f, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void print_metric(const struct status *s, const struct metric *m, FILE *f)
{
	const char *label = NULL;
	bool headed = false;
	char size[24];

	for (size_t i = 0; i < s->figures; i++) {
		const struct figure *fig = &s->figure[i];

		if (!m->wanted(fig, &label))
			continue;
		if (!headed)
			header(f, m->name, m->type, m->help);
		headed = true;
		size_text(fig->kb << 10, size, sizeof(size));
		fprintf(f, "%s{size=\"%s\"", m->name, size);
		if (fig->node != ANY_NODE)
			fprintf(f, ",node=\"%d\"", fig->node);
		if (m->label)
			fprintf(f, ",%s=\"%s\"", m->label, label);
		fprintf(f, "} %lld\n", fig->value);
	}
}

static void print_policy(const struct status *s, FILE *f)
{
	static const char *const policies[] = { "page", "hugepage" };

	header(f, "hugepoison_containment", "gauge", "1 for the policy in force.");
	for (size_t i = 0; i < ARRAY_SIZE(policies); i++)
		fprintf(f, "hugepoison_containment{policy=\"%s\"} %d\n", policies[i],
			!strcmp(s->policy, policies[i]));
	header(f, "hugepoison_replace", "gauge", "1 if pools get hugepages for those they lose.");
	fprintf(f, "hugepoison_replace %lld\n", s->replace);
}

/**
 * metrics_print - print the status as metrics
 * @s: the status
 * @f: where to
 */
void metrics_print(const struct status *s, FILE *f)
{
	header(f, "hugepoison_info", "gauge", "The kernel and the tool.");
	fprintf(f, "hugepoison_info{kernel=\"%s\",version=\"" VERSION "\"} 1\n", s->kernel);
	if (*s->policy)
		print_policy(s, f);
	if (s->corrupted_kb != NO_VALUE) {
		header(f, "hugepoison_hardware_corrupted_bytes", "gauge",
		       "Memory out of use, in hugepages or not.");
		fprintf(f, "hugepoison_hardware_corrupted_bytes %lld\n", s->corrupted_kb << 10);
	}
	for (size_t i = 0; i < ARRAY_SIZE(metrics); i++)
		print_metric(s, &metrics[i], f);
}
