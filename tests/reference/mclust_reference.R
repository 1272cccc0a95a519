# Writes the reference data and what mclust makes of them. Run in this folder:
#
#   Rscript mclust_reference.R
#
# It needs R with the packages mclust (the values kept here are those of 6.0.0) and jsonlite; the
# tests need neither. It prints, and does not keep, how long Mclust(x, G=1:9) takes.

suppressPackageStartupMessages(library(mclust))
library(jsonlite)

data(diabetes)
data(banknote)
data(thyroid)

# The column of the known classes, if there is one; all others are features.
classes <- c(iris = "Species", diabetes = "class", banknote = "Status", thyroid = "Diagnosis")
tables <- list(
  faithful = faithful, iris = iris, diabetes = diabetes, banknote = banknote, thyroid = thyroid
)

components <- 1:9

rows_of <- function(matrix) unname(lapply(seq_len(nrow(matrix)), function(i) matrix[i, ]))

# The criterion of every model, one row for each number of components, null where EM failed.
table_of <- function(criterion) rows_of(unname(matrix(criterion, nrow = length(components))))

fit_of <- function(x, criterion) {
  fit <- Mclust(x, x = criterion, verbose = FALSE)
  list(
    model = fit$modelName,
    n_components = fit$G,
    n_parameters = fit$df,
    bic = fit$bic,
    icl = fit$icl,
    log_likelihood = fit$loglik,
    weights = I(as.vector(fit$parameters$pro)),
    means = rows_of(unname(t(fit$parameters$mean))),
    covariances = lapply(seq_len(fit$G), function(k) rows_of(unname(fit$parameters$variance$sigma[, , k])))
  )
}

for (name in names(tables)) {
  table <- tables[[name]]
  features <- setdiff(names(table), classes[name])
  x <- as.matrix(table[features])
  dimnames(x) <- NULL

  written <- table[features]
  if (!is.na(classes[name])) written$class <- table[[classes[name]]]
  write.csv(written, paste0(name, ".csv"), row.names = FALSE, quote = FALSE)

  seconds <- system.time(Mclust(x, G = components, verbose = FALSE))[["elapsed"]]
  cat(sprintf("%s: Mclust(x, G=1:9) took %.2f s\n", name, seconds))

  bic <- mclustBIC(x, G = components, verbose = FALSE)
  prior <- mclustBIC(x, G = components, prior = priorControl(), verbose = FALSE)
  hierarchical <- lapply(c(VVV = "VVV", EEE = "EEE", VII = "VII", EII = "EII"), function(model) {
    merges <- hc(x, modelName = model, use = "SVD")
    unname(lapply(components, function(k) as.vector(hclass(merges, k))))
  })
  transformed <- lapply(
    c(VARS = "VARS", STD = "STD", SPH = "SPH", PCS = "PCS", PCR = "PCR", SVD = "SVD"),
    function(use) rows_of(unname(attr(hc(x, use = use), "data"))[1:5, ])
  )
  values <- list(
    mclust = as.character(packageVersion("mclust")),
    models = colnames(bic),
    n_components = components,
    bic = table_of(bic),
    icl = table_of(mclustICL(x, G = components, verbose = FALSE)),
    best = fit_of(x, bic),
    models_with_prior = colnames(prior), # mclust has no prior for the other four
    bic_with_prior = table_of(prior),
    best_with_prior = fit_of(x, prior),
    hierarchical = hierarchical,
    transformed_rows = transformed
  )
  json <- toJSON(values, digits = NA, auto_unbox = TRUE, na = "null")
  # one line for each member, so that a change shows where it is
  writeLines(gsub(",(\"[A-Za-z_]+\":)", ",\n\\1", json), paste0("mclust_", name, ".json"))
}
