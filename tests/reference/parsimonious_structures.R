# Reference values of the fourteen covariance structures, from mclust.
#
#     Rscript parsimonious_structures.R    (in this folder; mclust 6.0.0)
#
# reads the data sets beside it and writes parsimonious_structures.json:
# - "parameters": nMclustParams for numbers of components and features;
# - "m_steps": for given responsibilities, the criterion that the M-step minimises, divided by the
#   number of rows, and of each component's covariance S the logarithm of its determinant and
#   v'Sv with v = 1, ..., D. Null where mclust finds none.
# - "fits": the log-likelihood at which EM ends, begun with the M-step of given labels.
# - "ends": where EM ends in two cases in which an exact M-step leads to another optimum. mclust's
#   M-step of VVE stops short of its own.
# Rows, responsibilities and labels of the synthetic problems follow from formulas, which
# tests/parsimonious.py has again.

suppressMessages(library(mclust))

models <- mclust.options("emModelNames")
fraction <- function(x) x - floor(x)

synthetic <- function(K, D) {
  component <- rep(seq_len(K), 20 * seq_len(K))
  i <- seq_along(component)
  primes <- c(2, 3, 5, 7, 11, 13, 17)
  e <- sapply(seq_len(D), function(j) qnorm(fraction(0.5 + i * sqrt(primes[j]))))
  X <- sapply(seq_len(D), function(j) {
    width <- (1 + 0.5 * component) * (1 + (j + component) %% 3)
    width * (e[, j] + 0.5 * e[, j %% D + 1]) + 6 * component * (-1)^(j * component)
  })
  list(X = X, component = component)
}

responsibilities <- function(component, K) {
  i <- seq_along(component)
  z <- sapply(seq_len(K), function(k) 0.3 * fraction(i * k * sqrt(3)) + (component == k))
  z / rowSums(z)
}

# Equal numbers of rows by the order of their first feature.
first_feature_labels <- function(X, K) {
  floor(K * (rank(X[, 1], ties.method = "first") - 1) / nrow(X)) + 1
}

number <- function(x) ifelse(is.finite(x), sprintf("%.14g", x), "null")
array_of <- function(x) paste0("[", paste(number(x), collapse = ","), "]")

covariances <- function(fit, K, D) {
  sigma <- fit$parameters$variance$sigma
  if (D == 1) {
    sigmasq <- fit$parameters$variance$sigmasq
    sigma <- array(rep(sigmasq, length.out = K), c(1, 1, K))
  }
  sigma
}

m_step <- function(X, z, model) {
  K <- ncol(z); D <- ncol(X)
  fit <- suppressWarnings(mstep(X, modelName = model, z = z))
  sigma <- covariances(fit, K, D)
  if (is.null(sigma) || !all(is.finite(sigma))) return("null")
  criterion <- 0; determinants <- numeric(K); forms <- numeric(K); v <- seq_len(D)
  for (k in seq_len(K)) {
    S <- matrix(sigma[, , k], D, D)
    mean_k <- colSums(z[, k] * X) / sum(z[, k])
    offsets <- sweep(X, 2, mean_k)
    scatter <- t(offsets) %*% (z[, k] * offsets)
    determinants[k] <- as.numeric(determinant(S)$modulus)
    forms[k] <- t(v) %*% S %*% v
    criterion <- criterion + sum(z[, k]) * determinants[k] + sum(diag(solve(S, scatter)))
  }
  sprintf('{"criterion":%s,"log_determinants":%s,"forms":%s}',
          number(criterion / nrow(X)), array_of(determinants), array_of(forms))
}

em_from <- function(X, labels, K, model) {
  z <- matrix(0, nrow(X), K)
  z[cbind(seq_len(nrow(X)), labels)] <- 1
  suppressWarnings(me(X, modelName = model, z = z,
                      control = emControl(tol = c(1e-12, 1e-12), itmax = c(5000, 5000))))
}

fit <- function(X, labels, K, model) {
  found <- em_from(X, labels, K, model)
  if (is.null(found$loglik)) "null" else number(found$loglik)
}

end <- function(X, labels, K, model) {
  parameters <- em_from(X, labels, K, model)$parameters
  sprintf('{"model":"%s","weights":%s,"means":%s,"covariances":%s}', model,
          array_of(parameters$pro), array_of(parameters$mean), array_of(parameters$variance$sigma))
}

named <- function(values) {
  paste0("{", paste(sprintf('"%s":%s', names(values), values), collapse = ","), "}")
}

of_models <- function(f, D) {
  used <- if (D == 1) c("E", "V") else models
  named(setNames(sapply(used, f), used))
}

entry <- function(problem, K, values) {
  sprintf('{"problem":"%s","n_components":%d,"values":%s}', problem, K, values)
}

real <- lapply(
  c(iris = "iris", faithful = "faithful", diabetes = "diabetes", banknote = "banknote",
    thyroid = "thyroid"),
  function(name) {
    table <- read.csv(paste0(name, ".csv"))
    as.matrix(table[setdiff(names(table), "class")])
  }
)

parameters <- c(); m_steps <- c(); fits <- c(); ends <- c()
for (K in c(1, 2, 3, 5)) {
  for (D in c(1, 2, 4, 7)) {
    parameters <- c(parameters, sprintf('{"n_components":%d,"n_features":%d,"values":%s}', K, D,
      of_models(function(model) nMclustParams(model, D, K), D)))
    made <- synthetic(K, D)
    z <- responsibilities(made$component, K)
    problem <- sprintf("synthetic_%d", D)
    m_steps <- c(m_steps, entry(problem, K, of_models(function(model) m_step(made$X, z, model), D)))
    fits <- c(fits, entry(problem, K, of_models(
      function(model) fit(made$X, made$component, K, model), D)))
  }
  for (name in names(real)) {
    X <- real[[name]]
    labels <- first_feature_labels(X, K)
    z <- responsibilities(labels, K)
    m_steps <- c(m_steps, entry(name, K, of_models(function(model) m_step(X, z, model), ncol(X))))
    fits <- c(fits, entry(name, K, of_models(function(model) fit(X, labels, K, model), ncol(X))))
    if (K == 5 && name %in% c("iris", "diabetes")) {
      ends <- c(ends, entry(name, K, end(X, labels, K, "VVE")))
    }
    cat(name, K, "\n")
  }
}
block <- function(name, entries) sprintf('"%s":[\n%s\n]', name, paste(entries, collapse = ",\n"))
writeLines(paste0("{\n", paste(block("parameters", parameters), block("m_steps", m_steps),
                               block("fits", fits), block("ends", ends), sep = ",\n"), "\n}"),
           "parsimonious_structures.json")
