/* C with its standard library alone: cc -O1 -o peer peer.c && ./peer questions.txt answers.txt
   It answers outputs, per-sample gradients, residual and loss of ReLU networks of one output. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LAYERS = 16, NAME = 128 }; /* widths are below 99 */

typedef struct { int ndim, size[8]; double *v; } Array;
typedef struct {
    int depth, n, width[LAYERS + 1], activation; /* width[0] is d */
    Array W[LAYERS], b[LAYERS], x, y, multipliers;
} Case;

static FILE *out;

static double *numbers(int count) { return calloc(count ? count : 1, sizeof(double)); }

static Array read_array(FILE *in) {
    Array a = {0};
    int count = 1;
    if (fscanf(in, "%d", &a.ndim) != 1) exit(2);
    for (int k = 0; k < a.ndim; k++) {
        if (fscanf(in, "%d", &a.size[k]) != 1) exit(2);
        count *= a.size[k];
    }
    a.v = numbers(count);
    for (int k = 0; k < count; k++) if (fscanf(in, "%lf", &a.v[k]) != 1) exit(2);
    return a;
}

static void answer(const char *method, const char *name, const char *part,
                   int ndim, int rows, int columns, const double *v) {
    int count = (ndim ? rows : 1) * (ndim > 1 ? columns : 1);
    fprintf(out, "%s/%s/%s %d", method, name, part, ndim);
    for (int k = 0; k < ndim; k++) fprintf(out, " %d", k ? columns : rows);
    for (int k = 0; k < count; k++) fprintf(out, " %.17g%s", v[k], k + 1 < count ? "" : "\n");
}

/* the input a[l], the preactivations z[l] and the signals delta[l] of layers 0 ... depth-1 */
static double *a[LAYERS], *z[LAYERS], *delta[LAYERS];

static double run(const Case *c, const double *x) {
    memcpy(a[0], x, c->width[0] * sizeof(double));
    for (int l = 0; l < c->depth; l++)
        for (int k = 0; k < c->width[l + 1]; k++) {
            double s = c->b[l].v ? c->b[l].v[k] : 0.0;
            for (int j = 0; j < c->width[l]; j++) s += c->W[l].v[k * c->width[l] + j] * a[l][j];
            z[l][k] = s;
            a[l + 1][k] = s > 0 ? s : 0.0;
        }
    delta[c->depth - 1][0] = 1.0;
    for (int l = c->depth - 1; l > 0; l--)
        for (int j = 0; j < c->width[l]; j++) {
            double s = 0.0;
            for (int k = 0; k < c->width[l + 1]; k++) s += delta[l][k] * c->W[l].v[k * c->width[l] + j];
            delta[l - 1][j] = z[l - 1][j] > 0 ? s : 0.0;
        }
    return z[c->depth - 1][0];
}

/* the gradient of the last sample that was run, in the order W_1, b_1, W_2, ... */
static void gradient(const Case *c, double *row) {
    for (int l = 0; l < c->depth; l++) {
        for (int k = 0; k < c->width[l + 1]; k++)
            for (int j = 0; j < c->width[l]; j++) *row++ = delta[l][k] * a[l][j];
        if (c->b[l].v) for (int k = 0; k < c->width[l + 1]; k++) *row++ = delta[l][k];
    }
}

/* adds to grad the derivative of <r, gradient> in x: gates of ReLU are constant */
static void slope(const Case *c, const double *r, double factor, double *grad) {
    const double *R[LAYERS];
    for (int l = 0; l < c->depth; l++) {
        R[l] = r;
        r += c->width[l + 1] * (c->width[l] + (c->b[l].v ? 1 : 0));
    }
    double *bar = numbers(1), *pulled = bar;
    for (int l = c->depth - 1; l >= 0; l--, bar = pulled) {
        pulled = numbers(c->width[l]);
        for (int j = 0; j < c->width[l]; j++) {
            for (int k = 0; k < c->width[l + 1]; k++)
                pulled[j] += bar[k] * c->W[l].v[k * c->width[l] + j]
                           + delta[l][k] * R[l][k * c->width[l] + j];
            if (l > 0 && z[l - 1][j] <= 0) pulled[j] = 0.0;
        }
    }
    for (int j = 0; j < c->width[0]; j++) grad[j] = factor * pulled[j];
}

static void answer_all(const Case *c, const char *name) {
    int n = c->n, P = 0, d = c->width[0];
    for (int l = 0; l < c->depth; l++) P += c->width[l + 1] * (c->width[l] + (c->b[l].v ? 1 : 0));
    double *phi = numbers(n), *rows = numbers(n * P), *r = numbers(P), *t = r;
    double *grad_x = numbers(n * d), *grad_m = numbers(n), value = 0.0;
    for (int l = 0; l < c->depth; l++) {
        int size = c->width[l + 1] * c->width[l];
        memcpy(t, c->W[l].v, size * sizeof(double)), t += size;
        if (!c->b[l].v) continue;
        memcpy(t, c->b[l].v, c->width[l + 1] * sizeof(double)), t += c->width[l + 1];
    }
    for (int i = 0; i < n; i++) {
        phi[i] = run(c, c->x.v + i * d);
        gradient(c, rows + i * P);
        for (int k = 0; k < P; k++) r[k] -= c->multipliers.v[i] * c->y.v[i] * rows[i * P + k];
    }
    for (int k = 0; k < P; k++) value += r[k] * r[k];
    for (int i = 0; i < n; i++) {
        run(c, c->x.v + i * d);
        slope(c, r, -2 * c->multipliers.v[i] * c->y.v[i], grad_x + i * d);
        for (int k = 0; k < P; k++) grad_m[i] -= 2 * c->y.v[i] * r[k] * rows[i * P + k];
    }
    answer("outputs", name, "outputs", 1, n, 0, phi);
    answer("per_sample_gradients", name, "per_sample_gradients", 2, n, P, rows);
    answer("stationarity_residual", name, "residual", 1, P, 0, r);
    answer("stationarity", name, "value", 0, 0, 0, &value);
    answer("stationarity", name, "grad_x", 2, n, d, grad_x);
    answer("stationarity", name, "grad_multipliers", 1, n, 0, grad_m);
}

int main(int argc, char **argv) {
    char header[NAME], full[NAME], name[NAME] = "", *key;
    FILE *in = argc == 3 ? fopen(argv[1], "r") : NULL;
    if (!in || !(out = fopen(argv[2], "w")) || !fgets(header, NAME, in)) return 2;
    fputs(header, out);
    for (int l = 0; l < LAYERS; l++) a[l] = numbers(99), z[l] = numbers(99), delta[l] = numbers(99);
    Case c = {0};
    for (int more = 1; more;) {
        more = fscanf(in, "%127s", full) == 1;
        char *case_name = more && !strncmp(full, "two_classes/", 12) ? full + 12 : "";
        if ((key = strchr(case_name, '/'))) *key++ = '\0';
        if (strcmp(case_name, name)) { /* another case begins */
            if (*name && c.activation == 0) answer_all(&c, name);
            memset(&c, 0, sizeof c);
            strcpy(name, case_name);
        }
        Array found = more ? read_array(in) : (Array){0};
        if (!key) continue;
        int l = atoi(key + 2) - 1;
        if (!strncmp(key, "W_", 2)) {
            c.W[l] = found, c.depth = l + 1, c.width[l] = found.size[1], c.width[l + 1] = found.size[0];
        } else if (!strncmp(key, "b_", 2)) c.b[l] = found;
        else if (!strcmp(key, "activation")) c.activation = (int)found.v[0];
        else if (!strcmp(key, "x")) c.x = found, c.n = found.size[0];
        else if (!strcmp(key, "y")) c.y = found;
        else if (!strcmp(key, "multipliers")) c.multipliers = found;
    }
    return fclose(out) ? 2 : 0;
}
